"""Which runs a report speaks of, also those that no mean speaks of."""

from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Row, Table, number, text


def run_table(records: Records) -> Table:
    """Every run, also those that no mean speaks of."""
    return Table(
        name="runs",
        title=say("Runs"),
        note=say(
            "Runs of one arm differ in nothing but the seed. Unfinished runs are drawn dotted and left out of means and tables, "
            "unless no run of the arm is finished."
        ),
        columns=(
            text("arm", title=say("Arm")),
            text("run", title=say("Run")),
            text("status", title=say("Status")),
            number("generation_steps", title=say("Steps")),
            number("epochs", title=say("Epochs evaluated")),
            text("untrained", title=say("Vanilla found")),
            number("alerts", title=say("Alerts")),
            text("judge", title=say("Judge")),
            text("commit", title=say("Commit")),
            text("hash", title=say("Arm hash")),
        ),
        rows=tuple(_run_row(run, arm=arm) for arm in records.arms for run in arm.runs),
    )


def _run_row(records: RunRecords, *, arm: Arm) -> Row:
    run = records.run
    used = records in arm.used
    status = say("finished") if run.finished else say("unfinished, used") if used else say("unfinished, left out")
    return {
        "arm": arm.label,
        "run": run.name,
        "status": status,
        "generation_steps": len(records.training),
        "epochs": len({epoch for epoch, _, _ in records.evaluations if epoch > UNTRAINED_EPOCH}),
        "untrained": say("yes") if any(epoch == UNTRAINED_EPOCH for epoch, _, _ in records.evaluations) else say("no"),
        "alerts": None if records.alerts is None else len(records.alerts),
        "judge": run.judge_version,
        "commit": run.commit[:10],
        "hash": run.arm[:8],
    }
