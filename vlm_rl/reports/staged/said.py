"""What a look says of each arm, and what followed from it, in sentences."""

import math

from vlm_rl.evaluation.sequential.decisions import Step
from vlm_rl.evaluation.sequential.looks import Finding
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.staged.study import StudyPage


def headline(page: StudyPage, step: Step) -> Phrase:
    """What a step says, in sentences."""
    if page.is_changed:
        return paragraph(say_named("staged.changed"), _decided(page, step))
    return paragraph(*(said(page, step, arm=arm) for arm in step.looks), _decided(page, step))


def said(page: StudyPage, step: Step, *, arm: str) -> Phrase:
    """What a look says of an arm."""
    look, stage = step.looks[arm], page.stage_of(step)
    at_stop = step.at_stop.get(arm)
    estimate = look.estimate if at_stop is None else at_stop.estimate
    margin = 0.0 if stage is None else stage.margin
    name = look.finding.name.lower() + ("_not_worse" if look.finding is Finding.SUCCESS and margin else "")
    reference = say("the vanilla model") if stage is None or stage.reference is None else stage.reference
    values = {
        "arm": arm,
        "reference": reference,
        "seeds": look.seeds,
        "margin": 100 * margin,
        "delta": 100 * page.plan.smallest_effect,
    }
    values |= {"gain": points(estimate), "low": points(look.interval.low), "high": points(look.interval.high)}
    values |= {"chance": 100 * look.conditional_power, "confidence": 100 * (1 - look.level)}
    if look.finding is Finding.OPEN and _is_small(look.interval, delta=page.plan.smallest_effect):
        name = "no_difference"
    if math.isnan(look.p_value):
        return say_named("staged.no_spread", **values)
    return say_named(f"staged.{name}", **values)


def _is_small(interval: Interval, *, delta: float) -> bool:
    return -delta < interval.low and interval.high < delta


def points(share: float) -> float:
    return round(100 * share, 1) + 0.0


def _decided(page: StudyPage, step: Step) -> Phrase:
    names = [stage.name for stage in page.plan.stages]
    following = names[names.index(step.stage) + 1 :][:1] if step.stage in names else []
    limit = say_named(f"staged.limit.{step.limit}") if step.limit else ""
    return say_named(
        f"staged.decided.{step.decision.name.lower()}",
        stage=step.stage,
        following="".join(following),
        seeds=step.seeds,
        limit=limit,
    )
