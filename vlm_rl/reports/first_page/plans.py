"""What further runs would bring: seeds that are missing for a verdict, and the first design that decides where nothing is decided."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import TIMES_AS_MANY, count_range, more_needed, questions_of_image, scarcer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A design that finds an effect in four studies of five."""

    verdict: Judged
    effect: float  # a share
    seeds: int  # of each arm
    questions: int
    in_words: Mapping[str, Phrase]  # `seeds` and `questions`, the scarcer of them as a range

    @property
    def more_runs(self) -> dict[str, int]:
        """Further runs by label of the arm; the vanilla model needs no training."""
        return _missing(self.verdict, seeds=self.seeds)


Plans = Mapping[str, Plan]


def seeds_are_missing(verdict: Judged) -> dict[str, int]:
    """Further runs by label that it takes before anything can be judged; empty where seeds are not all that is missing."""
    has_runs = bool(verdict.comparison.scores.evaluations)
    is_decided = verdict.outcome not in (Outcome.NOT_JUDGED, Outcome.OPEN)
    if is_decided or verdict.doubts or (has_runs and verdict.difference is None):
        return {}
    return _missing(verdict, seeds=FEWEST_SEEDS)


def plans_of(verdicts: Sequence[Judged]) -> Plans:
    """By label of the arm, where there is one."""
    return {verdict.arm: plan for verdict in verdicts if (plan := plan_of(verdict)) is not None}


def plan_of(verdict: Judged) -> Plan | None:
    """The first design that can be run: for the smallest effect that matters, or else for the one that was measured.

    First more of what causes most uncertainty (seeds or questions), then that with several times as many of the other. None
    where the verdict is not open, or no design of a practical size decides.
    """
    difference = verdict.difference
    if verdict.outcome is not Outcome.OPEN or difference is None:
        return None
    for effect in (verdict.smallest_effect, abs(difference.estimate)):
        for times in (1, TIMES_AS_MANY):
            needed = more_needed(verdict, difference=difference, effect=effect, times=times)
            if math.isfinite(needed.estimate):
                kind = scarcer(difference)
                sizes = {"seeds": times * difference.num_seeds, "questions": times * verdict.comparison.num_questions}
                in_words = {name: say("{number:,}", number=size) for name, size in sizes.items()}
                each = questions_of_image(verdict)
                in_words[kind] = count_range(needed, kind=kind, each=each)
                found = math.ceil(round(needed.estimate * (1 if kind == "seeds" else each), 6))
                return Plan(verdict=verdict, effect=effect, in_words=in_words, **(sizes | {kind: found}))
    return None


def _missing(verdict: Judged, *, seeds: int) -> dict[str, int]:
    comparison = verdict.comparison
    now = {comparison.arm.label: len(comparison.scores.evaluations)}
    if comparison.reference is not None:
        now[comparison.reference.label] = len(comparison.reference_scores.evaluations)
    return {label: seeds - number for label, number in now.items() if number < seeds}
