"""The one action that the first page recommends for the whole study: what to do, because of which figure, at which cost.

It follows from the verdicts by rule and never goes beyond them: the largest improvement is scaled up; where there is none, the
cheapest step that can still bring a verdict is taken; where no step can, the study stops.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.first_page.arms_in_words import few_named, name_of
from vlm_rl.reports.first_page.costs import Costs
from vlm_rl.reports.first_page.headline import in_points
from vlm_rl.reports.first_page.next_stage import is_too_small, look_again
from vlm_rl.reports.first_page.plans import Plan, Plans, seeds_are_missing
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import interval_name


def action_of(verdicts: Sequence[Judged], *, plans: Plans, costs: Costs, badges: Mapping[str, Phrase]) -> Phrase:
    """One paragraph. `badges` are the verdicts in two words, by the name of the outcome."""
    if not verdicts:
        return say_named("action.nothing_trained")
    if improved := [one for one in verdicts if one.outcome is Outcome.IMPROVEMENT and not is_too_small(one)]:
        return _scale_up(improved, costs=costs)
    undecided = [one for one in verdicts if one.outcome in (Outcome.OPEN, Outcome.NOT_JUDGED)]
    if growing := [one for one in undecided if any(doubt.kind == "growing" for doubt in one.doubts)]:
        return say_named("action.wait", arms=_named(growing))
    if doubted := [one for one in undecided if one.doubts]:
        return _correct(doubted)
    if withheld := [one for one in undecided if one.comparison.difference is not None and _is_undeclared(one)]:
        return _declare(withheld, costs=costs)
    if missing := [one for one in undecided if seeds_are_missing(one)]:
        return _up_to_three(missing, costs=costs)
    if plans:
        return _decide(min(plans.values(), key=lambda plan: _size(plan, costs=costs)), costs=costs)
    if refused := [one for one in undecided if one.outcome is Outcome.NOT_JUDGED]:
        return _correct(refused)
    return _stop(verdicts, badges=badges)


def _scale_up(improved: Sequence[Judged], *, costs: Costs) -> Phrase:
    best = max(improved, key=lambda one: one.agreeing.estimate)
    runs = len(best.comparison.scores.evaluations)
    main = say_named("action.scale_up", runs=runs, cost=costs.of({best.arm: runs}), **_values(best))
    return paragraph(main, say_named("action.others_too", count=len(improved) - 1) if len(improved) > 1 else "")


def _correct(refused: Sequence[Judged]) -> Phrase:
    alike = [one for one in refused if one.reason == refused[0].reason]
    return say_named("action.correct", arms=_named(alike), reason=refused[0].reason)


def _is_undeclared(verdict: Judged) -> bool:
    """Whether what it is judged by, or against, was chosen after the runs, so that no gain of it can count."""
    return not verdict.comparison.choice.is_declared or verdict.comparison.has_late_reference


def _declare(withheld: Sequence[Judged], *, costs: Costs) -> Phrase:
    runs: dict[str, int] = {}
    for one in withheld:
        sides = ((one.comparison.arm, one.comparison.scores), (one.comparison.reference, one.comparison.reference_scores))
        runs |= {arm.label: max(FEWEST_SEEDS, len(scores.evaluations)) for arm, scores in sides if arm is not None}
    return say_named("action.declare", arms=_named(withheld), runs=sum(runs.values()), cost=costs.of(runs))


def _up_to_three(missing: Sequence[Judged], *, costs: Costs) -> Phrase:
    runs: dict[str, int] = {}
    arms: dict[str, Arm] = {}
    for verdict in missing:
        runs |= seeds_are_missing(verdict)
        sides = (verdict.comparison.arm, verdict.comparison.reference)
        arms |= {arm.label: arm for arm in sides if arm is not None and arm.label in runs}
    more, cost, then = sum(runs.values()), costs.of(runs), say_named("action.only_then")
    names = [name_of(arms[label]) for label in runs]
    if len(names) == 1:
        kind = "one_more" if more == 1 else "more_of_one"
        return paragraph(say_named(f"action.{kind}", arm=names[0], more=more, cost=cost), then)
    return paragraph(say_named("action.up_to_three", runs=more, arms=few_named(names, counted=_count), cost=cost), then)


def _size(plan: Plan, *, costs: Costs) -> tuple[float, int, int]:
    """What the cheapest plan is chosen by: device hours, or runs where these are not known, then questions."""
    hours, runs = costs.hours(plan.more_runs), sum(plan.more_runs.values())
    return (math.inf if math.isnan(hours) else hours), runs, plan.questions


def _decide(plan: Plan, *, costs: Costs) -> Phrase:
    more = sum(plan.more_runs.values())
    main = say_named(
        "action.more_seeds" if more else "action.more_questions",
        more=more,
        points=100 * plan.effect,
        cost=costs.of(plan.more_runs),
        **plan.in_words,
        **_values(plan.verdict),
    )
    return paragraph(main, look_again(plan))


def _stop(verdicts: Sequence[Judged], *, badges: Mapping[str, Phrase]) -> Phrase:
    if len(verdicts) > 1:
        counts = Counter(badges[one.outcome.name.lower()] for one in verdicts)
        found = listed(say("{outcome} ({count})", outcome=badge, count=count) for badge, count in counts.items())
        return say_named("action.stop_all", count=len(verdicts), found=found)
    (verdict,) = verdicts
    kind = "too_small" if is_too_small(verdict) else verdict.outcome.name.lower()
    return say_named(f"action.stop_{kind}", loss=abs(100 * verdict.agreeing.estimate), **_values(verdict))


def _values(verdict: Judged) -> dict[str, float | str]:
    """Names, and figures in points."""
    reference = verdict.comparison.reference
    return {
        "arm": name_of(verdict.comparison.arm),
        "reference": verdict.comparison.reference_name if reference is None else name_of(reference),
        "delta": 100 * verdict.smallest_effect,
        "interval": interval_name(verdict),
        **in_points(verdict.agreeing),
    }


def _named(verdicts: Sequence[Judged]) -> Phrase:
    return few_named([name_of(one.comparison.arm) for one in verdicts], counted=_count)


def _count(count: int) -> Phrase:
    return say("{count} arms", count=count)
