"""Verdicts, computed anew from scores for recompute_report.py, by the rule of docs/statistics.md."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from recompute_compare import Anew
from recompute_gains import this_run
from recompute_scores import BY_SEED
from recompute_statistics import Effect, between, effect_of, holm
from recompute_study import ArmRuns, Study, vanilla

NOTHING = (math.nan, math.nan, math.nan)
OUTCOMES = {"improvement": "improvement", "harm": "harm", "open": "no evidence either way", "not_judged": "not judged"}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An arm beside its reference, and all that follows from the scores of both."""

    label: str
    reference: str
    scores: BY_SEED
    others: BY_SEED
    effect: Effect | None
    p: float
    adjusted: float
    level: float  # at which Holm's procedure tests it
    look_level: float
    family: int
    delta: float
    outcome: str

    @property
    def first_level(self) -> float:
        """Of the least likely of the family: what plans are made for."""
        return self.look_level / max(1, self.family)

    @property
    def confidence(self) -> float:
        """Of the interval that agrees with the verdict."""
        if self.outcome == "no_difference":
            return 1 - 2 * self.look_level
        return 1 - (self.look_level if math.isnan(self.level) else self.level)

    @property
    def seeds(self) -> int:
        """Of the smaller side."""
        return min(self.effect.n) if self.effect else 0

    def ends(self, confidence: float = 0.95, *, with_questions: bool = True) -> tuple[float, float, float]:
        """The difference with an interval, which has no ends where nothing could be tested."""
        if self.effect is None:
            return NOTHING
        if math.isnan(self.p):
            return self.effect.g, math.nan, math.nan
        return self.effect.ends(confidence, with_questions=with_questions)

    @property
    def by_seed(self) -> list[float]:
        """What each seed gained: over its own vanilla model, or over the mean of the reference."""
        is_paired = self.reference == "the vanilla model"
        mean = math.fsum(one.accuracy for one in self.others.values()) / max(1, len(self.others))
        return [one.accuracy - (self.others[seed].accuracy if is_paired else mean) for seed, one in self.scores.items()]


def judge(study: Study, *, refused: Collection[str]) -> list[Judged]:
    """Each trained arm but the reference. `refused`: arms that the report does not judge for a reason beyond the scores."""
    wanted = study.endpoint["reference"]
    named = [arm for arm in study.arms if wanted in (arm.label, arm.runs[0].manifest["variant"])]
    reference = named[0] if named and len(study.arms) > 1 else None
    sides = []
    for arm in (arm for arm in study.arms if arm is not reference):
        scores, others = scores_of(study, arm), None
        if reference is None:
            before = vanilla(arm, study.endpoint["split"], study.endpoint["setting"])
            both = [seed for seed in scores if seed in before]
            scores, others = {seed: scores[seed] for seed in both}, {seed: before[seed] for seed in both}
        sides.append((arm.label, scores, scores_of(study, reference) if reference else others or {}))
    return judged(study, sides, reference="the vanilla model" if reference is None else reference.label, refused=refused)


def scores_of(study: Study, arm: ArmRuns) -> BY_SEED:
    """Finished runs on the endpoint, at their picked epochs."""
    return study.picked(arm, study.endpoint["split"], study.endpoint["setting"])


def judged(
    study: Study, sides: Sequence[tuple[str, BY_SEED, BY_SEED]], *, reference: str | None, refused: Collection[str] = ()
) -> list[Judged]:
    """What came out of a family of comparisons. `reference` None: of pairs, the label stands before ` | `."""
    effects = [effect_between(scores, others, is_paired=reference == "the vanilla model") for _, scores, others in sides]
    p_values = [math.nan if effect is None else effect.p for effect in effects]
    look_level, delta = 0.05 / study.endpoint["planned_looks"], study.endpoint["smallest_effect"]
    adjusted, levels = holm(p_values, look_level)
    found = []
    for (label, scores, others), effect, p, adjusted_p, level in zip(sides, effects, p_values, adjusted, levels, strict=True):
        outcome = outcome_of(effect, adjusted_p, look_level=look_level, delta=delta)
        if label in refused or (outcome == "improvement" and reference is not None and not study.endpoint["is_declared"]):
            outcome = "not_judged"
        name, _, other = label.partition(" | ")
        found.append(
            Judged(
                label=name,
                reference=reference or other,
                scores=scores,
                others=others,
                effect=effect,
                p=p,
                adjusted=adjusted_p,
                level=level,
                look_level=look_level,
                family=sum(not math.isnan(p) for p in p_values),
                delta=delta,
                outcome=outcome,
            )
        )
    return found


def effect_between(scores: BY_SEED, others: BY_SEED, *, is_paired: bool) -> Effect | None:
    """None where the two sides were not asked the same."""
    everything = [*scores.values(), *others.values()]
    if (
        not scores
        or not others
        or any(not one.questions["image"].equals(everything[0].questions["image"]) for one in everything)
    ):
        return None
    images = everything[0].questions["image"].tolist()
    first, second = (np.array([one.scores.to_numpy() for one in side.values()]) for side in (scores, others))
    return effect_of([first - second] if is_paired else [first, second], images)


def outcome_of(effect: Effect | None, adjusted_p: float, *, look_level: float, delta: float) -> str:
    """First whether chance explains it, then whether it is small for certain."""
    if effect is None or math.isnan(adjusted_p) or min(effect.n) < 3:
        return "not_judged"
    if adjusted_p < look_level:
        return "improvement" if effect.g > 0 else "harm"
    _, low, high = effect.ends(1 - 2 * look_level)
    return "no_difference" if -delta < low and high < delta else "open"


def decisions(found: Sequence[Judged], study: Study) -> Anew:
    """The table of verdicts."""
    rows, arms = [], {arm.label: arm for arm in study.arms}
    for one in found:
        effect, agreeing = one.effect, one.ends(one.confidence)
        row: dict[str, Any] = {"arm": one.label, "reference": one.reference}
        row["verdict"] = OUTCOMES.get(one.outcome, f"no difference larger than {100 * one.delta:g} points")
        row |= between("agreeing", agreeing, one.seeds) | {
            "confidence": math.nan if math.isnan(agreeing[1]) else one.confidence
        }
        row |= between("gain", one.ends(), one.seeds) | between("same_benchmark", one.ends(with_questions=False), one.seeds)
        row |= alone_if_single(one) | {"p_value": one.p, "adjusted_p": one.adjusted}
        row["seeds"] = " + ".join(map(str, effect.n)) if effect else str(len(one.scores))
        row["questions"] = next((len(asked.questions) for asked in one.scores.values()), 0)
        row["images"] = effect.images if effect else math.nan
        row["epochs"] = ", ".join(str(asked.epoch) for asked in one.scores.values())
        row["left_out"] = str(len(arms[one.label].runs) - len(one.scores) or "")
        row["variance_seeds"], row["variance_questions"] = (effect.a, effect.b) if effect else (math.nan, math.nan)
        rows.append(row)
    return Anew(name="decisions", keys=("arm",), rows=rows)


def alone_if_single(one: Judged) -> dict[str, float]:
    """The interval of a single run."""
    if one.seeds != 1 or one.effect is None:
        return between("this_run_only", NOTHING, 0)
    (after, *_), (before, *_) = one.scores.values(), one.others.values()
    return between("this_run_only", this_run(one.effect, before, after), 1)


def forest(found: Sequence[Judged]) -> Anew:
    """The numbers of the picture on the first page."""
    rows = []
    for one in (one for one in found if one.effect is not None):
        effect, low, high = one.ends(one.confidence)
        rows.append({"arm": one.label, "effect": effect, "low": low, "high": high} | by_place(one.by_seed))
    return Anew(name="picture of the first page", keys=("arm",), rows=rows)


def by_place(effects: Sequence[float]) -> dict[str, float]:
    """A column for each seed."""
    return {f"seed in place {place}": effect for place, effect in enumerate(effects)}
