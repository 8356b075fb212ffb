"""What a run cost and gained, and whether all arms were trained with the same resources. Measured, never estimated."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.files import number
from vlm_rl.reports.reading.results import over_seeds, selected_epoch
from vlm_rl.reports.tables.charged_time import STEPS, Hours, charged_hours, device_hours, is_on_whole_machine, seconds, total
from vlm_rl.reports.tables.table import Cell, Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import values_of

THROWN_AWAY = "tokens/thrown_away"  # logged only where there is dynamic sampling
PRICED = ("money", "points_per_money")  # columns that need a price
RATIOS = {  # column -> what points are divided by, and how much of it
    "points_per_device_hour": ("device_hours", 1.0),
    "points_per_million_tokens": ("tokens", 1e6),
    "points_per_money": ("money", 1.0),
}
MOST_ALIKE = 1.1  # times as much is still called the same


def cost_table(
    records: Records, *, endpoint: Endpoint, price_per_device_hour: float | None = None, currency: str = ""
) -> Table:
    """Tokens, seconds, memory, device hours, money: averages over seeds; points for each of them: of all seeds together."""
    hours = charged_hours(records)
    is_thrown_away = any(not math.isnan(total(run, name=THROWN_AWAY)) for arm in records.shown for run in arm.used)
    rows: list[Row] = []
    for arm in records.shown:
        measured = [run for run in arm.used if run.cost]
        if costs := [_costs(run, hours=hours[run.run.path], price=price_per_device_hour) for run in measured]:
            steps = mean_or_the_same([cost["generation_steps"] for cost in costs])
            points = [points_gained(run, endpoint=endpoint) for run in measured]
            ratios = {name: pooled(points, costs=[cost[key] / unit for cost in costs]) for name, (key, unit) in RATIOS.items()}
            rows.append({"arm": arm.label, "seeds": len(costs), **over_seeds(costs), "generation_steps": steps, **ratios})
    return table_of(
        "cost",
        rows,
        without=(*(() if is_thrown_away else ("thrown_away",)), *(PRICED if price_per_device_hour is None else ())),
        currency=currency,
        **values_of(endpoint),
        why_thrown_away=say_named("cost.thrown_away") if is_thrown_away else "",
        unknown_times=unknown_times(records),
    )


def _costs(run: RunRecords, *, hours: float, price: float | None) -> dict[str, float]:
    """Everything that one run took, a number for each column; NaN where it is not known."""
    peaks = [peak for line in run.cost if (peak := number(line, key="memory/peak_bytes")) > 0]
    return {
        "generation_steps": max(number(line, key="generation_steps") for line in run.cost),
        "tokens": total(run, name="tokens/response"),
        "thrown_away": total(run, name=THROWN_AWAY),
        **{f"{name.removeprefix('time/')}_seconds": total(run, name=name) for name in STEPS},
        "seconds": seconds(run),
        "peak_bytes": max(peaks, default=math.nan),
        "device_hours": hours,
        "money": math.nan if price is None else price * hours,
    }


def points_per_device_hour(arm: Arm, *, endpoint: Endpoint, hours: Hours) -> float:
    """Points gained over the vanilla model for each device hour, as the cost table has them."""
    measured = [run for run in arm.used if run.cost]
    points = [points_gained(run, endpoint=endpoint) for run in measured]
    return pooled(points, costs=[hours[run.run.path] for run in measured])


def points_gained(run: RunRecords, *, endpoint: Endpoint) -> float:
    """What the endpoint's accuracy of one seed rose by, in points; NaN where it is not known."""
    if (epoch := selected_epoch(run, endpoint=endpoint)) is None:
        return math.nan
    before, after = (run.evaluations.get((one, endpoint.split, endpoint.setting)) for one in (VANILLA_EPOCH, epoch))
    return math.nan if before is None or after is None else 100 * (after.accuracy() - before.accuracy())


def pooled(points: Sequence[float], *, costs: Sequence[float]) -> float:
    """Points of all runs of which both are known, divided by the cost of these; NaN where that is nothing."""
    known = [(gain, cost) for gain, cost in zip(points, costs, strict=True) if not math.isnan(gain + cost)]
    spent = math.fsum(cost for _, cost in known)
    return math.fsum(gain for gain, _ in known) / spent if spent > 0 else math.nan


def unknown_times(records: Records) -> Phrase | str:
    """A sentence where runs may have shared a machine and nobody can say; empty where all is known."""
    timed = [run for arm in records.shown for run in arm.runs if not math.isnan(device_hours(run))]
    unknown = [run for run in timed if not run.run.starts and (is_on_whole_machine(run) or not run.run.machine)]
    if len(timed) < 2 or not unknown:
        return ""
    return say_named("cost.unknown_times", count=len(unknown), all=len(timed))


def mean_or_the_same(values: Sequence[float]) -> Interval | float:
    """The mean over seeds; without an interval where all seeds agree."""
    interval = mean_interval(values)
    return interval.estimate if len(set(values)) == 1 else interval


def fairness_table(records: Records) -> Table:
    """Whether the arms had the same chance: data, passes, updates, learning rate and how it was chosen, tokens, seconds."""
    rows = tuple(map(_fairness_row, records.trained))
    is_same_model = len({row["model"] for row in rows}) == 1
    return table_of(
        "fairness",
        rows,
        differences=paragraph(*differences(rows)),
        selections=paragraph(*selections(rows)),
        same_model=say_named("fairness.same_model" if is_same_model else "fairness.other_models"),
    )


def _fairness_row(arm: Arm) -> Row:
    def last(key: str) -> list[float]:
        return [max((number(line, key=key) for line in run.training.records), default=math.nan) for run in arm.used]

    config = arm.used[0].run.config
    batch_size = float(config.get("dataset", {}).get("batch_size") or math.nan)
    used_in_epoch = [steps * batch_size / epochs for steps, epochs in zip(last("generation_steps"), last("epoch"), strict=True)]
    hashes = list(dict.fromkeys(run.run.data.get("train", "") for run in arm.used))
    thrown_away = [total(run, name=THROWN_AWAY) for run in arm.used]
    learned_from = [
        total(run, name="tokens/response") - (0 if math.isnan(lost) else lost)
        for run, lost in zip(arm.used, thrown_away, strict=True)
    ]
    return {
        "arm": arm.label,
        "seeds": len(arm.used),
        "model": str(config.get("model", {}).get("name") or ""),
        "data": hashes[0][:8] if len(hashes) == 1 else say("differs by seed"),
        "rows": mean_or_the_same(used_in_epoch),
        "epochs": mean_or_the_same(last("epoch")),
        "updates": mean_or_the_same(last("gradient_steps")),
        "learning_rate": learning_rate(config),
        "selection": config.get("selection") or say("not said"),
        "tokens": mean_interval(learned_from),
        "seconds": mean_interval(list(map(seconds, arm.used))),
    }


def learning_rate(config: Mapping[str, Any]) -> float:
    """model.optimization.learning_rate, or the language part's own, x algorithm.learning_rate_scale; NaN without a config."""
    optimization, algorithm = config.get("model", {}).get("optimization", {}), config.get("algorithm")
    own = optimization.get("part_learning_rates", {}).get("language")
    rate = optimization.get("learning_rate") if own is None else own
    return math.nan if rate is None or algorithm is None else float(rate) * float(algorithm.get("learning_rate_scale", 1.0))


def differences(rows: Sequence[Row]) -> Iterator[Phrase]:
    """A sentence for each quantity in which the arms differ; one sentence if none differs, none for a single arm."""
    if len(rows) < 2:
        return
    is_other = len({row["data"] for row in rows}) > 1
    other_data = [say("The arms were trained on different data.")] if is_other else []
    found = [
        *other_data,
        *(sentence for key in ("rows", "epochs", "updates", "tokens") for sentence in _unequal(rows, key=key)),
    ]
    yield from found or [say("They agree in data, rows, epochs, updates and response tokens, to a tenth.")]


def _unequal(rows: Sequence[Row], *, key: str) -> Iterator[Phrase]:
    known = {str(row["arm"]): value for row in rows if (value := _value(row[key])) > 0}
    most, least = max(known, key=known.__getitem__, default=""), min(known, key=known.__getitem__, default="")
    times = known[most] / known[least] if known else 1.0
    if times >= MOST_ALIKE:
        yield say_named(f"fairness.unequal.{key}", most=most, least=least, times=times)


def _value(cell: Cell) -> float:
    """NaN, which is not above 0, where there is none."""
    value = cell.estimate if isinstance(cell, Interval) else cell
    return float(value) if isinstance(value, int | float) else math.nan


def selections(rows: Sequence[Row]) -> Iterator[Phrase]:
    """How learning rates were chosen, each text once."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        selection = row["selection"]
        arms.setdefault(selection if isinstance(selection, str) else str(selection), []).append(str(row["arm"]))
    for selection, labels in arms.items():
        if len(arms) == 1:
            yield say("How the learning rate was chosen: {selection}.", selection=selection)
        else:
            yield say("How the learning rate of {arms} was chosen: {selection}.", arms=listed(labels), selection=selection)
