"""Any split and setting at the epoch that validation picks, for what stands beside the endpoint."""

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.verdicts.endpoint_scores import picked_epoch

__all__ = ["at_pick", "before_and_at_pick", "picked_epoch"]


def at_pick(records: RunRecords, *, endpoint: Endpoint, split: str, setting: str) -> Evaluation | None:
    """The evaluation on any split under any setting at the epoch that validation picked under the endpoint's setting."""
    epoch = picked_epoch(records, endpoint=endpoint)
    return None if epoch is None else records.evaluations.get((epoch, split, setting))


def before_and_at_pick(arm: Arm, *, endpoint: Endpoint, split: str, setting: str) -> list[tuple[Evaluation, Evaluation]]:
    """(untrained, picked) for each used run that has both: what differences paired by seed are made of."""
    both = [
        (run.evaluations.get((UNTRAINED_EPOCH, split, setting)), at_pick(run, endpoint=endpoint, split=split, setting=setting))
        for run in arm.used
    ]
    return [(before, after) for before, after in both if before is not None and after is not None]
