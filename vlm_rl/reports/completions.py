"""A few completions to look at, as they were written. The only reader of the text of evaluations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlm_rl.reports.arms import Arm, Records
from vlm_rl.reports.evaluations import Evaluation

SHOWN_COLUMNS = [
    "row_id",
    "sample",
    "kind",
    "modality",
    "question",
    "answer",
    "response",
    "verdict",
    "finish_reason",
    "response_length",
]
SHOWN_PER_GROUP = 2  # right and not right answers of each arm
LONGEST_SHOWN = 2000  # characters; the files keep everything


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response of one arm, shortened if it is very long."""

    arm: str
    seed: int
    epoch: int
    split: str
    setting: str
    kind: str
    modality: str
    question: str
    answer: str
    response: str
    num_characters_left_out: int
    verdict: str
    finish_reason: str
    response_length: int  # tokens


def sample_completions(records: Records, *, setting: str) -> list[Completion]:
    """For each arm, of its first seed at its last epoch: the first right and the first other responses, by row id."""
    return [completion for arm in records.shown for completion in _of_arm(arm, splits=records.splits(), setting=setting)]


def _of_arm(arm: Arm, *, splits: list[str], setting: str) -> Iterator[Completion]:
    for split in splits[:1]:
        epoch = arm.last_epoch(split=split, setting=setting) or 0
        evaluation = next(iter(arm.evaluated(epoch=epoch, split=split, setting=setting)), None)
        if evaluation is not None:
            seed = next(run.run.seed for run in arm.used if evaluation in run.evaluations.values())
            for row in _chosen(evaluation):
                yield _completion(row, arm=arm.label, seed=seed, evaluation=evaluation)


def _chosen(evaluation: Evaluation) -> list[dict[str, Any]]:
    samples = pq.read_table(evaluation.path, columns=SHOWN_COLUMNS)
    order = pc.sort_indices(samples, sort_keys=[("row_id", "ascending"), ("sample", "ascending")])
    right = pc.equal(samples["verdict"], "correct").take(order)
    places = [place for chosen in (right, pc.invert(right)) for place in order.filter(chosen)[:SHOWN_PER_GROUP].to_pylist()]
    rows: list[dict[str, Any]] = samples.take(pa.array(places, type=pa.int64())).to_pylist()
    return rows


def _completion(row: dict[str, Any], *, arm: str, seed: int, evaluation: Evaluation) -> Completion:
    response = row["response"]
    kept = {
        name: row[name] for name in ("kind", "modality", "question", "answer", "verdict", "finish_reason", "response_length")
    }
    return Completion(
        arm=arm,
        seed=seed,
        epoch=evaluation.epoch,
        split=evaluation.split,
        setting=evaluation.setting,
        response=response[:LONGEST_SHOWN],
        num_characters_left_out=max(0, len(response) - LONGEST_SHOWN),
        **kept,
    )
