"""The reward of a response: a weighted sum of terms. Accuracy is always judged, once, and reported even where its weight is 0
(`reward=random`, a negative control).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.types import Response

ACCURACY = "accuracy"  # name of the term that is always there


@runtime_checkable
class RewardTerm(Protocol):
    """One score per response; its weight is in the config."""

    @property
    def name(self) -> str:
        """As in `train/reward_<name>`."""

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        """Scores in the order of the responses; `rows[i]` is what `responses[i]` answers."""


@dataclass(frozen=True, kw_only=True)
class WeightedTerm:
    """A term and its factor in the sum."""

    term: RewardTerm
    weight: float


@dataclass(frozen=True, kw_only=True)
class RewardScores:
    """Scores of a batch of responses, in their order."""

    total: list[float]  # weighted sum
    terms: dict[str, list[float]]  # name -> unweighted scores; accuracy is always there
    verdicts: list[Verdict]
    num_not_judged: int = 0  # responses that count as wrong because the judge could not judge them (docs/judge.md)


class Reward:
    r"""Judges each response once and adds up accuracy and the other terms.

    Accuracy is the paper's: 1.0 for a correct final answer in `\boxed{}`, 0.0 for WRONG, UNPARSABLE and TIMED_OUT alike. A truncated
    response is judged like any other.
    """

    def __init__(self, *, judge: Judge, accuracy_weight: float, terms: Mapping[str, WeightedTerm]) -> None:
        self.judge = judge
        self._terms = list(terms.values())
        self.weights = {ACCURACY: accuracy_weight}
        for key, weighted in terms.items():
            if weighted.term.name in self.weights:
                raise ValueError(
                    f"reward.terms.{key}: there is already a term named {weighted.term.name!r}. Remove this one by "
                    f"'~reward.terms.{key}' and change the weight of the other; accuracy has reward.accuracy_weight."
                )
            self.weights[weighted.term.name] = weighted.weight

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> RewardScores:
        """Scores `responses[i]` as an answer to `rows[i]`."""
        verdicts = self.judge.judge([response.text for response in responses], [row.answer for row in rows])
        scores = {ACCURACY: [float(verdict is Verdict.CORRECT) for verdict in verdicts]}
        scores |= {weighted.term.name: weighted.term(responses, rows) for weighted in self._terms}
        total = [sum(self.weights[name] * scores[name][i] for name in scores) for i in range(len(responses))]
        return RewardScores(total=total, terms=scores, verdicts=verdicts, num_not_judged=self.judge.num_not_judged)

    def close(self) -> None:
        """Ends the judge's worker processes."""
        self.judge.close()
