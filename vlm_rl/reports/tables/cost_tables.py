"""What a run costs and what was gained for it. Measured, never estimated."""

import math
from collections.abc import Sequence

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.json_lines import number as quantity
from vlm_rl.reports.tables.table import Row, Table, table_of
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
