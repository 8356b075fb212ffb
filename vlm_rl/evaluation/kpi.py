r"""Key figures of a team: any function from the sample records of one evaluation to a number. Two examples; docs/kpi.md adds more.

Both examples rest on agreement: of a question's n samples, the share that give its most frequent final answer, an answer being
the last `\boxed{}`, normalised; the earliest of equally frequent ones; a sample without an answer agrees with none. The most
frequent answer is what a person would be shown, so it decides whether the question counts as right.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlm_rl.evaluation.share import wilson
from vlm_rl.rewards.answers import read_answer
from vlm_rl.rewards.boxed import last_boxed

ONE_SIDED_95 = 1.6448536269514722  # quantile of the normal distribution
PLAIN_BOX = r"(?:^|[^\\])\\boxed\{(?P<content>[^{}\\]*)\}"  # RE2: a box with neither braces nor commands in it
QUESTIONS = 100  # minutes are given for so many


@runtime_checkable
class Kpi(Protocol):
    """A number that a team decides by."""

    @property
    def name(self) -> str:
        """As the report shows it."""

    @property
    def unit(self) -> str:
        """As the report shows it."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is good."""

    def __call__(self, records: pa.Table) -> float:
        """From one row for each sample, the columns of vlm_rl/evaluation/records.py; NaN where it is not defined."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """By question, in order of row id."""

    share: NDArray[np.float64]  # of the samples, those that give the most frequent answer; 0 where none gives any
    is_right: NDArray[np.bool_]  # whether the judge takes that answer

    def accepted(self, *, threshold: float) -> NDArray[np.bool_]:
        """The questions whose answer is taken unseen; one without an answer never is."""
        return (self.share >= threshold) & (self.share > 0)


def agreement_of(records: pa.Table) -> Agreement:
    """Vote over the samples of each question."""
    samples: defaultdict[str, list[tuple[int, str | None, bool]]] = defaultdict(list)
    columns = (records[name].to_pylist() for name in ("row_id", "sample", "accuracy"))
    for row_id, sample, accuracy, answer in zip(*columns, final_answers(records["response"]), strict=True):
        samples[row_id].append((sample, answer, accuracy > 0.5))
    votes = [_vote(sorted(samples[row_id], key=lambda entry: entry[0])) for row_id in sorted(samples)]
    return Agreement(
        share=np.array([share for share, _ in votes], dtype=np.float64),
        is_right=np.array([right for _, right in votes], dtype=bool),
    )


def _vote(samples: list[tuple[int, str | None, bool]]) -> tuple[float, bool]:
    answers = Counter(answer for _, answer, _ in samples if answer is not None)
    if not answers:
        return 0.0, False
    ((answer, count),) = answers.most_common(1)
    verdicts = [is_right for _, given, is_right in samples if given == answer]
    return count / len(samples), sum(verdicts) > len(verdicts) / 2


def final_answers(responses: pa.ChunkedArray) -> list[str | None]:
    """`final_answer` of each response; in a long column Arrow finds the plain ones, and only the others are decoded."""
    is_plain = pc.and_(pc.equal(pc.count_substring(responses, "boxed"), 1), pc.match_substring_regex(responses, PLAIN_BOX))
    contents = pc.struct_field(pc.extract_regex(responses, PLAIN_BOX), "content").to_pylist()
    return [
        _spelled_alike(content) if plain else final_answer(responses[place].as_py())
        for place, (plain, content) in enumerate(zip(is_plain.to_pylist(), contents, strict=True))
    ]


def final_answer(response: str) -> str | None:
    r"""The last `\boxed{}` in one spelling, exact where it is a plain number, so that 0.5 and \frac12 agree; None without any."""
    boxed = last_boxed(response)
    return None if boxed is None else _spelled_alike(boxed)


@lru_cache(maxsize=65536)
def _spelled_alike(boxed: str) -> str | None:
    parts = read_answer(boxed).parts
    return "; ".join(part.text if part.value is None else str(part.value) for part in parts) or None


def wilson_lower(num_right: int, *, num: int) -> float:
    """One-sided 95 % lower bound of a share (Wilson 1927); 0 without any."""
    return wilson(num_right / num, num=num, z=ONE_SIDED_95)[0] if num else 0.0


def agreement_threshold(agreement: Agreement, *, confidence: float) -> float:
    """The lowest agreement at which the accepted questions are right in at least `confidence` of cases, by Wilson's lower bound.

    Every agreement that occurs is tried. It is chosen on the very questions that it is then applied to, so it is optimistic: one
    of several bounds may hold by luck. Infinite where none holds; then nothing is accepted.
    """
    for threshold in np.unique(agreement.share[agreement.share > 0]):
        accepted = agreement.accepted(threshold=float(threshold))
        if wilson_lower(int(agreement.is_right[accepted].sum()), num=int(accepted.sum())) >= confidence:
            return float(threshold)
    return math.inf


@dataclass(frozen=True, kw_only=True)
class UncheckedShare:
    """Share of questions whose answer a person need not check, at a given confidence that such an answer is right."""

    confidence: float  # wanted accuracy of the answers that nobody checks
    threshold: float | None  # agreement from which an answer is taken unseen, found on other data; None: on these questions
    name: str = "answers that need no check"  # two of them, with other thresholds, need two names

    unit = "share of questions"
    higher_is_better = True

    def __post_init__(self) -> None:
        """Raise ValueError unless the confidence lies between 0 and 1."""
        if not 0 < self.confidence < 1:
            raise ValueError(f"evaluation.kpi: confidence={self.confidence} must lie between 0 and 1, as 0.9.")

    def accepted(self, agreement: Agreement) -> NDArray[np.bool_]:
        """By question: whether its answer is taken without a check."""
        found = self.threshold
        return agreement.accepted(
            threshold=agreement_threshold(agreement, confidence=self.confidence) if found is None else found
        )

    def __call__(self, records: pa.Table) -> float:
        accepted = self.accepted(agreement_of(records))
        return float(accepted.mean()) if accepted.size else math.nan


@dataclass(frozen=True, kw_only=True)
class MinutesSaved:
    """Expected minutes saved for each 100 questions against a person who does them all by hand; may be negative.

    An answer taken unseen costs nothing if right and `for_a_slip` if wrong; any other is checked, and done by hand if wrong.
    """

    unchecked: UncheckedShare  # which answers nobody checks
    by_hand: float  # minutes for one question without the model
    to_check: float  # minutes for checking one answer
    for_a_slip: float  # minutes that a wrong answer costs which nobody checked
    name: str = "time saved"

    unit = "minutes for each 100 questions"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        agreement = agreement_of(records)
        unseen, wrong = self.unchecked.accepted(agreement), ~agreement.is_right
        spent = np.where(unseen, self.for_a_slip * wrong, self.to_check + self.by_hand * wrong)
        return float(QUESTIONS * (self.by_hand - spent).mean()) if spent.size else math.nan
