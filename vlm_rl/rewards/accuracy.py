r"""Accuracy: 1 for a correct final answer in `\boxed{}`, else 0, as in the paper. The judge says what is correct."""

from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.types import Response


class AccuracyTerm:
    """1.0 where the verdict is CORRECT, 0.0 for WRONG, UNPARSABLE and TIMED_OUT alike."""

    name = "accuracy"

    def __init__(self, *, judge: Judge) -> None:
        self._judge = judge

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return self.scores(self.verdicts(responses, rows))

    def verdicts(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[Verdict]:
        """The judge on each response; a truncated response is judged like any other."""
        return self._judge.judge([response.text for response in responses], [row.answer for row in rows])

    def scores(self, verdicts: Sequence[Verdict]) -> list[float]:
        """The same term where the verdicts are known."""
        return [float(verdict is Verdict.CORRECT) for verdict in verdicts]
