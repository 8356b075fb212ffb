"""Which runs a report speaks of, also those that no mean speaks of."""

from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Row, Table, table_of


def run_table(records: Records) -> Table:
    """Every run, also those that no mean speaks of."""
    return table_of("runs", (_run_row(run, arm=arm) for arm in records.arms for run in arm.runs))


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
