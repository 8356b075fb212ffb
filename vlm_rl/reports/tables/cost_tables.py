"""What a run costs and what was gained for it. Measured, never estimated."""

import math
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.files import number as quantity
from vlm_rl.reports.tables.table import Cell, Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import at_pick, values_of

STEPS = (
    "time/step1_data_flow",
    "time/step2_response_collection",
    "time/step3_trajectory_generation",
    "time/step4_policy_update",
    "time/evaluation",
)
THROWN_AWAY = "tokens/thrown_away"  # logged only where there is dynamic sampling
PRICED = ("money", "points_per_money")  # columns that need a price
POINTS = 100.0  # in a share of one
TOKENS = 1e6  # points are told for so many


def cost_table(
    records: Records, *, endpoint: Endpoint, price_per_device_hour: float | None = None, currency: str = ""
) -> Table:
    """Tokens, seconds, memory, device hours, money, and accuracy points for each of them; averages over seeds."""
    measured = [arm for arm in records.shown if any(run.cost for run in arm.used)]
    is_thrown_away = any(not math.isnan(total(run, name=THROWN_AWAY)) for arm in records.shown for run in arm.used)
    without = () if is_thrown_away else ("thrown_away",)
    return table_of(
        "cost",
        (_cost_row(arm, endpoint=endpoint, price=price_per_device_hour) for arm in measured),
        without=without if price_per_device_hour is not None else (*without, *PRICED),
        currency=currency,
        **values_of(endpoint),
        why_thrown_away=say_named("cost.thrown_away") if is_thrown_away else "",
    )


def _cost_row(arm: Arm, *, endpoint: Endpoint, price: float | None) -> Row:
    measured = [run for run in arm.used if run.cost]

    def mean(name: str) -> Interval:
        return mean_interval([total(run, name=name) for run in measured])

    gained = [gain(run, endpoint=endpoint) for run in measured]
    hours = [device_hours(run) for run in measured]
    tokens = [total(run, name="tokens/response") for run in measured]
    memory = [[quantity(record, key="memory/peak_bytes") for record in run.cost] for run in measured]
    peaks = [max((peak for peak in of_run if peak > 0), default=math.nan) for of_run in memory]
    money = [math.nan if price is None else price * value for value in hours]
    return {
        "arm": arm.label,
        "seeds": len(measured),
        "generation_steps": mean_or_the_same(
            [max(quantity(record, key="generation_steps") for record in run.cost) for run in measured]
        ),
        "tokens": mean_interval(tokens),
        "thrown_away": mean(THROWN_AWAY),
        **{f"{name.removeprefix('time/')}_seconds": mean(name) for name in STEPS},
        "seconds": mean_interval([seconds(run) for run in measured]),
        "peak_bytes": mean_interval(peaks),
        "device_hours": mean_interval(hours),
        "points_per_device_hour": points_per_device_hour(arm, endpoint=endpoint),
        "points_per_million_tokens": _for_each(gained, costs=[value / TOKENS for value in tokens]),
        "money": mean_interval(money),
        "points_per_money": _for_each(gained, costs=money),
    }


def points_per_device_hour(arm: Arm, *, endpoint: Endpoint) -> Interval:
    """Points gained over the untrained model for each device hour, as the cost table has them."""
    measured = [run for run in arm.used if run.cost]
    return _for_each([gain(run, endpoint=endpoint) for run in measured], costs=[device_hours(run) for run in measured])


def gain(run: RunRecords, *, endpoint: Endpoint) -> float:
    """What the endpoint's accuracy of one seed rose by, in points; NaN where it is not known."""
    before = run.evaluations.get((UNTRAINED_EPOCH, endpoint.split, endpoint.setting))
    after = at_pick(run, endpoint=endpoint, split=endpoint.split, setting=endpoint.setting)
    return math.nan if before is None or after is None else POINTS * (after.accuracy() - before.accuracy())


def seconds(run: RunRecords) -> float:
    """Of the four steps and of evaluation; NaN where nothing was timed."""
    known = [value for name in STEPS if not math.isnan(value := total(run, name=name))]
    return math.fsum(known) if known else math.nan


def device_hours(run: RunRecords) -> float:
    """seconds x devices x machines / 3600; NaN where the config says `auto`."""
    trainer = run.run.config.get("trainer") or {}
    return seconds(run) * _devices(trainer.get("devices")) * float(trainer.get("num_nodes") or 1) / 3600


def _devices(asked: object) -> float:
    if isinstance(asked, list):
        return float(len(asked))
    text_or_number = str(asked)
    return float(text_or_number) if text_or_number.isdigit() else math.nan  # auto and -1: as many as there were


def _for_each(gained: Sequence[float], *, costs: Sequence[float]) -> Interval:
    """The ratio of each seed, averaged over seeds."""
    return mean_interval([points / cost if cost > 0 else math.nan for points, cost in zip(gained, costs, strict=True)])


def total(run: RunRecords, *, name: str) -> float:
    """A quantity summed over a run after training began; missing where the run never measured it."""
    lines = (record for record in run.cost if quantity(record, key="generation_steps") > 0 or run.run.is_evaluated_only)
    values = [value for record in lines if not math.isnan(value := quantity(record, key=name))]
    return math.fsum(values) if values else math.nan


def mean_or_the_same(values: Sequence[float]) -> Interval | float:
    """The mean over seeds; without an interval where all seeds agree."""
    interval = mean_interval(values)
    return interval.estimate if len(set(values)) == 1 else interval


def fairness_table(records: Records) -> Table:
    """Whether the arms had the same chance: data, passes, updates, learning rate and how it was chosen, tokens, seconds."""
    rows = tuple(_fairness_row(arm) for arm in records.trained)
    is_same_model = len({_model(arm) for arm in records.trained}) == 1
    return table_of(
        "fairness",
        rows,
        differences=paragraph(*differences(rows)),
        selections=paragraph(*selections(rows)),
        same_model=say_named("fairness.same_model" if is_same_model else "fairness.other_models"),
    )


def _fairness_row(arm: Arm) -> Row:
    def last(key: str) -> list[float]:
        return [max((quantity(line, key=key) for line in run.training), default=math.nan) for run in arm.used]

    config = arm.used[0].run.config
    batch_size = float((config.get("dataset") or {}).get("batch_size") or math.nan)
    used_in_epoch = [steps * batch_size / epochs for steps, epochs in zip(last("generation_steps"), last("epoch"), strict=True)]
    hashes = list(dict.fromkeys(run.run.data.get("train", "") for run in arm.used))
    return {
        "arm": arm.label,
        "seeds": len(arm.used),
        "model": _model(arm),
        "data": hashes[0][:8] if len(hashes) == 1 else say("differs by seed"),
        "rows": mean_or_the_same(used_in_epoch),
        "epochs": mean_or_the_same(last("epoch")),
        "updates": mean_or_the_same(last("gradient_steps")),
        "learning_rate": learning_rate(config),
        "selection": config.get("selection") or say("not said"),
        "tokens": mean_interval([_tokens_learned_from(run) for run in arm.used]),
        "seconds": mean_interval([seconds(run) for run in arm.used]),
    }


def _tokens_learned_from(run: RunRecords) -> float:
    thrown_away = total(run, name=THROWN_AWAY)
    return total(run, name="tokens/response") - (0 if math.isnan(thrown_away) else thrown_away)


def _model(arm: Arm) -> str:
    return str((arm.used[0].run.config.get("model") or {}).get("name") or "")


def learning_rate(config: dict[str, object]) -> float:
    """model.optimization.learning_rate, or the language part's own, x algorithm.learning_rate_scale; NaN without a config."""
    model, algorithm = config.get("model"), config.get("algorithm")
    optimization = model.get("optimization") if isinstance(model, dict) else None
    if not isinstance(optimization, dict) or not isinstance(algorithm, dict):
        return math.nan
    own = (optimization.get("part_learning_rates") or {}).get("language")
    return float(optimization["learning_rate"] if own is None else own) * float(algorithm.get("learning_rate_scale", 1.0))


MOST_ALIKE = 1.1  # times as much is still called the same


def differences(rows: Sequence[Row]) -> Iterator[Phrase]:
    """A sentence for each quantity that differs; one if none does, nothing of a single arm."""
    if len(rows) < 2:
        return
    is_other = len({row["data"] for row in rows}) > 1
    other_data = [say("The arms were trained on different data.")] if is_other else []
    found = [*other_data, *(said for key in ("rows", "epochs", "updates", "tokens") for said in _unequal(rows, key=key))]
    yield from found or [say("They agree in data, rows, epochs, updates and response tokens, to a tenth.")]


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


def _unequal(rows: Sequence[Row], *, key: str) -> Iterator[Phrase]:
    known = {str(row["arm"]): value for row in rows if (value := _value(row[key])) > 0}
    most, least = max(known, key=known.__getitem__, default=""), min(known, key=known.__getitem__, default="")
    times = known[most] / known[least] if known else 1.0
    if times >= MOST_ALIKE:
        yield say_named(f"fairness.unequal.{key}", most=most, least=least, times=times)


def _value(cell: Cell) -> float:
    """NaN, which is not above 0, where there is none."""
    value = cell.estimate if isinstance(cell, Interval) else cell
    return float(value) if isinstance(value, int | float) else float("nan")
