"""Counts and metrics of a table of responses, computed in one place: while training, after an evaluation and for a report.

The tables are those of records.py; those of training have scores too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from vlm_rl.evaluation.reflection import ReflectionCounts, ReflectionRule, pool_reflection, reflective_counts
from vlm_rl.evaluation.response_length import length_metrics
from vlm_rl.rewards.foreign_letters import mean_foreign_share
from vlm_rl.rewards.judge import Verdict

VERDICTS = tuple(verdict.value for verdict in Verdict)


@dataclass(frozen=True, kw_only=True)
class ResponseCounts:
    """Everything that is counted in a table of responses, whoever wrote them."""

    correct: Bool[np.ndarray, " responses"]  # a response that was not judged is not right
    reflective: Bool[np.ndarray, " responses"]  # has a reflection word
    lengths: Int[np.ndarray, " responses"]  # tokens, EOS included
    reflection: ReflectionCounts
    length_metrics: Mapping[str, float]
    foreign_share: float  # letters outside Latin and Greek, mean over responses

    @property
    def accuracy(self) -> float:
        """Share of right responses."""
        return float(self.correct.mean())


def count_responses(table: pa.Table, *, rule: ReflectionRule) -> ResponseCounts:
    """Read `accuracy`, `response`, `response_length` and `finish_reason` once; `rule` says what a reflection word is."""
    correct = is_correct(table)
    lengths = np.asarray(pc.fill_null(table["response_length"], 0)).astype(np.int64)
    truncated = np.asarray(pc.equal(table["finish_reason"], "length"))
    found = reflective_counts(table["response"], rule=rule)
    reflective = np.zeros(correct.size, dtype=bool)
    reflective[list(found)] = True
    return ResponseCounts(
        correct=correct,
        reflective=reflective,
        lengths=lengths,
        reflection=pool_reflection(found, correct=correct, rule=rule),
        length_metrics=length_metrics(lengths, truncated=truncated),
        foreign_share=mean_foreign_share(table["response"]),
    )


def is_correct(table: pa.Table) -> Bool[np.ndarray, " responses"]:
    """Whether each response is right; one that was not judged is not."""
    return np.asarray(pc.fill_null(pc.greater(table["accuracy"], 0.5), False))


def training_metrics(table: pa.Table, *, counts: ResponseCounts) -> dict[str, float]:
    """What the responses of a generation step say, under the names of metrics.jsonl. `table` has scores too.

    With a rule without words there are no reflection metrics.
    """
    scores = {"train/reward": "score"} | {f"train/{name}": name for name in table.column_names if name.startswith("reward_")}
    return {
        "train/accuracy": counts.accuracy,
        **{key: pc.mean(table[name]).as_py() for key, name in scores.items() if name in table.column_names},
        **{f"judge/{verdict}": float(np.mean(pc.equal(table["verdict"], verdict))) for verdict in VERDICTS},
        **counts.length_metrics,
        **(counts.reflection.metrics() if counts.reflection.word_counts else {}),
        "language/foreign_share": counts.foreign_share,
    }
