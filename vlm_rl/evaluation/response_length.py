"""Lengths of responses in tokens, EOS included, and the parts of a gain in accuracy: format and reasoning."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def length_metrics(lengths: NDArray[np.int64], *, truncated: NDArray[np.bool_]) -> dict[str, float]:
    """Statistics of response lengths (tokens) under the names of metrics.jsonl; NaN without a response.

    `truncated` is True for a response that was cut off before EOS.
    """
    return {
        "response_length/mean": _mean(lengths),
        "response_length/min": float(lengths.min()) if lengths.size else math.nan,
        "response_length/max": float(lengths.max()) if lengths.size else math.nan,
        "response_length/truncated": _mean(truncated),
        "response_length/mean_terminated": _mean(lengths[~truncated]),
        "response_length/mean_truncated": _mean(lengths[truncated]),
    }


def _mean(values: NDArray[Any]) -> float:
    return ratio(int(values.sum()), total=values.size)


def ratio(count: int, *, total: int) -> float:
    """NaN where there is nothing to divide by."""
    return count / total if total else math.nan


@dataclass(frozen=True, kw_only=True)
class FormatCounts:
    """Responses by format and correctness; they add up over questions and seeds."""

    num_responses: int
    num_well_formed: int  # a boxed answer, and ended by a stop token
    num_correct: int
    num_well_formed_correct: int

    def __add__(self, other: "FormatCounts") -> "FormatCounts":
        """Pool two sets of responses."""
        return FormatCounts(**{name: count + vars(other)[name] for name, count in vars(self).items()})

    @property
    def accuracy(self) -> float:
        """Share of responses that are right."""
        return ratio(self.num_correct, total=self.num_responses)

    @property
    def well_formed(self) -> float:
        """F: share of responses that are boxed and ended."""
        return ratio(self.num_well_formed, total=self.num_responses)

    @property
    def accuracy_if_well_formed(self) -> float:
        """q: share of right answers among the well-formed responses; NaN without any."""
        return ratio(self.num_well_formed_correct, total=self.num_well_formed)

    @property
    def accuracy_outside(self) -> float:
        """r: share of all responses that are right and yet not well-formed (boxed an answer, then ran into the limit)."""
        return ratio(self.num_correct - self.num_well_formed_correct, total=self.num_responses)


@dataclass(frozen=True, kw_only=True)
class GainParts:
    """A gain in accuracy = format + reasoning + outside, exactly."""

    gain: float
    format: float  # more responses are well-formed
    reasoning: float  # more of the well-formed ones are right
    outside: float  # change in answers that are right without being well-formed


def gain_parts(after: FormatCounts, *, before: FormatCounts) -> GainParts:
    """Accuracy = F q + r, so gain = (F1 - F0) (q0 + q1) / 2 + (q1 - q0) (F0 + F1) / 2 + (r1 - r0).

    The mean of both orders of change (Shapley), so that neither format nor reasoning is favoured. Where nothing is
    well-formed q is not known; it is then taken from the other side, and the whole product counts as format.
    """
    q_before, q_after = before.accuracy_if_well_formed, after.accuracy_if_well_formed
    q_before, q_after = _known(q_before, otherwise=q_after), _known(q_after, otherwise=q_before)
    return GainParts(
        gain=after.accuracy - before.accuracy,
        format=(after.well_formed - before.well_formed) * (q_before + q_after) / 2,
        reasoning=(q_after - q_before) * (before.well_formed + after.well_formed) / 2,
        outside=after.accuracy_outside - before.accuracy_outside,
    )


def _known(value: float, *, otherwise: float) -> float:
    return next((known for known in (value, otherwise) if not math.isnan(known)), 0.0)
