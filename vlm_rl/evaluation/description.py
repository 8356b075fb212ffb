"""The figures of an evaluation, from its sample records alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question
from vlm_rl.evaluation.records import by_question
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.response_metrics import VERDICTS, count_responses, is_correct
from vlm_rl.evaluation.settings import GenerationSetting, metric_name
from vlm_rl.evaluation.statistics import Interval, share_interval


@dataclass(frozen=True, kw_only=True)
class Description:
    """One split under one generation setting."""

    accuracy: Interval  # pass@k, 95 % over new questions like these: this model only
    num_questions: int
    num_clusters: int  # images, where several questions share one
    pass_at: tuple[float, ...]  # pass@1, ..., pass@n, unbiased; n is the smallest number of samples of a question
    response_length: Mapping[str, float]  # tokens, and the share cut off, under the names of metrics.jsonl
    reflection: Mapping[str, float]  # the five ratios of Table 2
    verdicts: Mapping[str, int]  # samples by the decision of the judge

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe(samples: pa.Table, *, k: int, reflection: ReflectionRule) -> Description:
    """From the sample records of one evaluation, texts included."""
    counts = count_responses(samples, rule=reflection)
    questions, sums = by_question(samples, keys=("row_id", "image_id"), counted={"correct": counts.correct})
    num_correct, num_samples = sums["num_correct"], sums["num_samples"]
    scores = pass_at_k_by_question(num_correct, num_samples=num_samples, k=k)
    clusters = [question["image_id"] or question["row_id"] for question in questions.to_pylist()]
    verdicts = samples["verdict"].to_pylist()
    return Description(
        accuracy=share_interval(scores[None], images=clusters),
        num_questions=scores.size,
        num_clusters=len(set(clusters)),
        pass_at=tuple(pass_at_1_to_k(num_correct, num_samples=num_samples, k=int(num_samples.min())).mean(axis=0).tolist()),
        response_length=counts.length_metrics,
        reflection=counts.reflection.ratios(),
        verdicts={verdict: verdicts.count(verdict) for verdict in VERDICTS},
    )


def accuracy(table: pa.Table, *, k: int) -> float:
    """Mean over questions of the unbiased pass@k."""
    _, counts = by_question(table, keys=["row_id"], counted={"correct": is_correct(table)})
    return float(pass_at_k_by_question(counts["num_correct"], num_samples=counts["num_samples"], k=k).mean())


def metrics(tables: Mapping[tuple[str, str], pa.Table], *, settings: Sequence[GenerationSetting]) -> dict[str, float]:
    """`val/pass@8_t1.0/accuracy` and its like, from the tables of (split, setting name)."""
    k = {setting.name: setting.k for setting in settings}
    return {metric_name(split, setting=name): accuracy(table, k=k[name]) for (split, name), table in tables.items()}
