"""Counts of responses that add up, divided at the end: lengths in tokens, EOS included, what was cut off, format and reasoning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ResponseLengths:
    """Lengths of a set of responses; sets add up over batches and ranks."""

    num_terminated: int  # ended by a stop token
    num_truncated: int  # cut off at the limit of new tokens
    tokens_terminated: int
    tokens_truncated: int
    shortest: int | None  # tokens; None for no response
    longest: int | None

    def __add__(self, other: "ResponseLengths") -> "ResponseLengths":
        """Pool two sets of responses."""
        return ResponseLengths(
            num_terminated=self.num_terminated + other.num_terminated,
            num_truncated=self.num_truncated + other.num_truncated,
            tokens_terminated=self.tokens_terminated + other.tokens_terminated,
            tokens_truncated=self.tokens_truncated + other.tokens_truncated,
            shortest=min((n for n in (self.shortest, other.shortest) if n is not None), default=None),
            longest=max((n for n in (self.longest, other.longest) if n is not None), default=None),
        )

    def metrics(self) -> dict[str, float]:
        """Under the names of metrics.jsonl; NaN where there is no response to speak of."""
        num_responses = self.num_terminated + self.num_truncated
        return {
            "response_length/mean": ratio(self.tokens_terminated + self.tokens_truncated, total=num_responses),
            "response_length/min": math.nan if self.shortest is None else float(self.shortest),
            "response_length/max": math.nan if self.longest is None else float(self.longest),
            "response_length/truncated": ratio(self.num_truncated, total=num_responses),
            "response_length/mean_terminated": ratio(self.tokens_terminated, total=self.num_terminated),
            "response_length/mean_truncated": ratio(self.tokens_truncated, total=self.num_truncated),
        }


def count_response_lengths(
    lengths: Sequence[int] | NDArray[np.int64], *, truncated: Sequence[bool] | NDArray[np.bool_]
) -> ResponseLengths:
    """Sum up response lengths (tokens), of which `truncated` says whether the response was cut off before EOS."""
    tokens, cut = np.asarray(lengths, dtype=np.int64), np.asarray(truncated, dtype=bool)
    num_truncated, tokens_truncated = int(cut.sum()), int(tokens[cut].sum())
    return ResponseLengths(
        num_terminated=tokens.size - num_truncated,
        num_truncated=num_truncated,
        tokens_terminated=int(tokens.sum()) - tokens_truncated,
        tokens_truncated=tokens_truncated,
        shortest=int(tokens.min()) if tokens.size else None,
        longest=int(tokens.max()) if tokens.size else None,
    )


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
class GainSplit:
    """A gain in accuracy = format + reasoning + outside, exactly."""

    gain: float
    format: float  # more responses are well-formed
    reasoning: float  # more of the well-formed ones are right
    outside: float  # change in answers that are right without being well-formed


def split_gain(after: FormatCounts, *, before: FormatCounts) -> GainSplit:
    """Accuracy = F q + r, so gain = (F1 - F0) (q0 + q1) / 2 + (q1 - q0) (F0 + F1) / 2 + (r1 - r0).

    The mean of both orders of change (Shapley), so that neither format nor reasoning is favoured. Where nothing is
    well-formed q is not known; it is then taken from the other side, and the whole product counts as format.
    """
    q_before, q_after = before.accuracy_if_well_formed, after.accuracy_if_well_formed
    q_before, q_after = _known(q_before, otherwise=q_after), _known(q_after, otherwise=q_before)
    return GainSplit(
        gain=after.accuracy - before.accuracy,
        format=(after.well_formed - before.well_formed) * (q_before + q_after) / 2,
        reasoning=(q_after - q_before) * (before.well_formed + after.well_formed) / 2,
        outside=after.accuracy_outside - before.accuracy_outside,
    )


def _known(value: float, *, otherwise: float) -> float:
    return next((known for known in (value, otherwise) if not math.isnan(known)), 0.0)
