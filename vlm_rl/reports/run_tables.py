"""Which runs a report speaks of, and what they cost."""

import math
from collections.abc import Sequence

from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.json_lines import number as quantity
from vlm_rl.reports.table import Row, Table, number, text

STEPS = {
    "time/step1_data_flow": "Step I, data (s)",
    "time/step2_response_collection": "Step II, responses (s)",
    "time/step3_trajectory_generation": "Step III, trajectory (s)",
    "time/step4_policy_update": "Step IV, update (s)",
    "time/evaluation": "Evaluation (s)",
}


def cost_table(records: Records) -> Table:
    """Tokens, seconds of the four steps and peak memory of a run, averaged over seeds."""
    rows = [_cost_row(arm) for arm in records.shown if any(run.cost for run in arm.used)]
    return Table(
        name="cost",
        title="Cost of a run",
        note=(
            "Measured; averages over seeds with 95 % t-intervals. Runs that were trained side by side on one "
            "machine took time from each other."
        ),
        columns=(
            text("arm", title="Arm"),
            number("seeds", title="Seeds"),
            number("generation_steps", title="Steps"),
            number("tokens", title="Response tokens"),
            *(number(_key(name), title=title, pattern="{:,.1f}") for name, title in STEPS.items()),
            number("seconds", title="Sum (s)", pattern="{:,.1f}"),
            number("peak_bytes", title="Peak memory (GiB)", pattern="{:.2f}", scale=2**-30),
        ),
        rows=tuple(rows),
    )


def _key(name: str) -> str:
    return name.removeprefix("time/") + "_seconds"


def _cost_row(arm: Arm) -> Row:
    measured = [run for run in arm.used if run.cost]
    peaks = [
        max((p for record in run.cost if (p := quantity(record, key="memory/peak_bytes")) > 0), default=math.nan)
        for run in measured
    ]
    steps = {_key(name): mean_interval([_total(run, name=name) for run in measured]) for name in STEPS}
    return {
        "arm": arm.label,
        "seeds": len(measured),
        "generation_steps": _mean([max(quantity(record, key="generation_steps") for record in run.cost) for run in measured]),
        "tokens": mean_interval([_total(run, name="tokens/response") for run in measured]),
        **steps,
        "seconds": mean_interval([math.fsum(_or_zero(_total(run, name=name)) for name in STEPS) for run in measured]),
        "peak_bytes": mean_interval(peaks),
    }


def _total(run: RunRecords, *, name: str) -> float:
    """A quantity summed over a run; missing where the run never measured it."""
    values = [value for record in run.cost if not math.isnan(value := quantity(record, key=name))]
    return math.fsum(values) if values else math.nan


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _mean(values: Sequence[float]) -> Interval | float:
    interval = mean_interval(values)
    return interval.estimate if len(set(values)) == 1 else interval


def run_table(records: Records) -> Table:
    """Every run, also those that no mean speaks of."""
    return Table(
        name="runs",
        title="Runs",
        note=(
            "Runs of one arm differ in nothing but the seed. Unfinished runs are drawn dotted and left out of "
            "means and tables, unless no run of the arm is finished."
        ),
        columns=(
            text("arm", title="Arm"),
            text("run", title="Run"),
            text("status", title="Status"),
            number("generation_steps", title="Steps"),
            number("epochs", title="Epochs evaluated"),
            text("untrained", title="Vanilla found"),
            number("alerts", title="Alerts"),
            text("judge", title="Judge"),
            text("commit", title="Commit"),
            text("hash", title="Arm hash"),
        ),
        rows=tuple(_run_row(run, arm=arm) for arm in records.arms for run in arm.runs),
    )


def _run_row(records: RunRecords, *, arm: Arm) -> Row:
    run = records.run
    used = records in arm.used
    status = "finished" if run.finished else f"unfinished, {'used' if used else 'left out'}"
    return {
        "arm": arm.label,
        "run": run.name,
        "status": status,
        "generation_steps": len(records.training),
        "epochs": len({epoch for epoch, _, _ in records.evaluations if epoch > UNTRAINED_EPOCH}),
        "untrained": "yes" if any(epoch == UNTRAINED_EPOCH for epoch, _, _ in records.evaluations) else "no",
        "alerts": len(records.alerts),
        "judge": run.judge_version,
        "commit": run.commit[:10],
        "hash": run.arm[:8],
    }
