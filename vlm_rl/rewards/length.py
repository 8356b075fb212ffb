"""Length: two penalties for long responses, both at most zero. Neither is in the paper's objective."""

from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.types import Response


class LengthTerm:
    """Soft overlong punishment (DAPO, arXiv 2503.14476, Eq. 13): from 0 to -1 over the last `buffer_share` of `max_length` tokens."""

    name = "length"

    def __init__(self, *, max_length: int, buffer_share: float) -> None:
        if not 0 < buffer_share <= 1:
            raise ValueError(
                f"reward.terms.length.term.buffer_share={buffer_share} is no share of the longest response: it is above 0 and at most 1, "
                "as reward.terms.length.term.buffer_share=0.2."
            )
        self._max_length = max_length
        self._buffer_length = buffer_share * max_length

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [self._penalty(response.num_tokens) for response in responses]

    def _penalty(self, length: int) -> float:
        """min(0, max(-1, (max_length - buffer_length - length) / buffer_length)), length in tokens, EOS included."""
        return min(0.0, max(-1.0, (self._max_length - self._buffer_length - length) / self._buffer_length))


class TruncationTerm:
    """`truncated_score` for a response cut off before EOS, else 0. The authors overwrite its whole score; this adds."""

    name = "truncation"

    def __init__(self, *, truncated_score: float) -> None:
        self._truncated_score = truncated_score

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [self._truncated_score if response.finish_reason == "length" else 0.0 for response in responses]
