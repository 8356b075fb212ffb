"""How long responses are, in tokens with EOS included, and how many were cut off. Sums that add up, divided at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


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


def count_response_lengths(lengths: Sequence[int], *, truncated: Sequence[bool]) -> ResponseLengths:
    """Sum up response lengths (tokens), of which `truncated` says whether the response was cut off before EOS."""
    cut = [int(length) for length, is_cut in zip(lengths, truncated, strict=True) if is_cut]
    ended = [int(length) for length, is_cut in zip(lengths, truncated, strict=True) if not is_cut]
    return ResponseLengths(
        num_terminated=len(ended),
        num_truncated=len(cut),
        tokens_terminated=sum(ended),
        tokens_truncated=sum(cut),
        shortest=min(ended + cut, default=None),
        longest=max(ended + cut, default=None),
    )


def ratio(count: int, *, total: int) -> float:
    """NaN where there is nothing to divide by."""
    return count / total if total else math.nan
