"""A reward of one's own: a reading that is nearly right is worth something."""

from collections.abc import Sequence

from team_overlay.reading import reading_error
from vlm_rl.datasets.row import Row
from vlm_rl.types import Response


class ClosenessTerm:
    """1 for the true reading, falling in a straight line to 0 at `reach` from it; 0 without a number."""

    name = "closeness"

    def __init__(self, *, reach: float) -> None:
        self._reach = reach  # units of the scale

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        errors = [reading_error(response.text, row.answer) for response, row in zip(responses, rows, strict=True)]
        return [0.0 if error is None else max(0.0, 1 - error / self._reach) for error in errors]
