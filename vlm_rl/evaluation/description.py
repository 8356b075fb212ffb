"""What one evaluation of one model says by itself, split by setting: levels with a question interval, no comparison."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k
from vlm_rl.evaluation.reflection import ReflectionRule, count_reflection
from vlm_rl.evaluation.response_length import count_response_lengths
from vlm_rl.evaluation.statistics import Interval, share_interval
from vlm_rl.rewards.judge import Verdict


@dataclass(frozen=True, kw_only=True)
class Description:
    """One split under one setting."""

    accuracy: Interval  # pass@k, 95 % over new questions like these: this model only
    num_questions: int
    num_clusters: int  # images, where several questions share one
    pass_at: tuple[float, ...]  # pass@1, ..., pass@n, unbiased; n is the smallest number of samples of a question
    response_length: Mapping[str, float]  # tokens, and the share cut off, under the names of metrics.jsonl
    reflection: Mapping[str, float]  # the five ratios of Table 2
    verdicts: Mapping[str, int]  # samples by what the judge said

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe(samples: pa.Table, *, k: int, reflection: ReflectionRule) -> Description:
    """From the sample records of one evaluation, texts included."""
    right = pc.greater(samples["accuracy"], 0.5)
    by_question = (
        pa.table({"row_id": samples["row_id"], "image_id": samples["image_id"], "right": pc.cast(right, pa.int64())})
        .group_by(["row_id", "image_id"])
        .aggregate([("right", "sum"), ("right", "count")])
    )
    num_correct, num_samples = (by_question[name].to_numpy().astype(np.int64) for name in ("right_sum", "right_count"))
    scores = pass_at_1_to_k(num_correct, num_samples=num_samples, k=k)[..., -1]
    clusters = [
        image or row for row, image in zip(*(by_question[name].to_pylist() for name in ("row_id", "image_id")), strict=True)
    ]
    truncated = pc.equal(samples["finish_reason"], "length").to_pylist()
    verdicts = samples["verdict"].to_pylist()
    return Description(
        accuracy=share_interval(scores[None], images=clusters),
        num_questions=scores.size,
        num_clusters=len(set(clusters)),
        pass_at=tuple(pass_at_1_to_k(num_correct, num_samples=num_samples, k=int(num_samples.min())).mean(axis=0).tolist()),
        response_length=count_response_lengths(samples["response_length"].to_pylist(), truncated=truncated).metrics(),
        reflection=count_reflection(samples["response"].to_pylist(), correct=right.to_pylist(), rule=reflection).ratios(),
        verdicts={verdict.value: verdicts.count(verdict.value) for verdict in Verdict},
    )
