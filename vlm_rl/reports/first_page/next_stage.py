"""The next stage of each arm, which follows from its verdict by rule, and what it would cost."""

from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.first_page.arms_in_words import few
from vlm_rl.reports.first_page.costs import Costs
from vlm_rl.reports.first_page.plans import Plan, Plans, seeds_are_missing
from vlm_rl.reports.first_page.risks import fewer_solved
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.results import selected_epoch
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of


def next_stages(verdicts: Sequence[Judged], *, plans: Plans, costs: Costs) -> Iterator[Phrase]:
    """A paragraph for each arm, or for each kind of next stage where there are many arms."""
    yield from few(paragraph(*_next_stage(one, plan=plans.get(one.arm), costs=costs)) for one in verdicts)
    if not verdicts:
        yield say("Train an arm with at least three seeds beside its vanilla model: nothing can be judged yet.")


def is_too_small(verdict: Judged) -> bool:
    """Whether an improvement is certain, and certainly too small to matter."""
    return verdict.outcome is Outcome.IMPROVEMENT and verdict.agreeing.high < verdict.smallest_effect


def _next_stage(verdict: Judged, *, plan: Plan | None, costs: Costs) -> Iterator[Phrase]:
    missing, arm = seeds_are_missing(verdict), verdict.arm
    if is_too_small(verdict):
        yield say_named("next_stage.too_small", arm=arm, delta=100 * verdict.smallest_effect)
    elif verdict.outcome in (Outcome.IMPROVEMENT, Outcome.HARM, Outcome.NO_DIFFERENCE):
        yield sentence_of(verdict, "next_stage")
        if verdict.outcome is Outcome.IMPROVEMENT:
            yield from _open_questions(verdict)
            num_runs = len(verdict.comparison.scores.evaluations)
            yield say_named("next_stage.again", runs=num_runs, cost=costs.of({arm: num_runs}))
    elif missing:
        more = sum(missing.values())
        yield say_named("next_stage.one_more" if more == 1 else "next_stage.more", arm=arm, more=more, cost=costs.of(missing))
    elif plan is not None:
        yield from _to_settle(plan, costs=costs)
    elif verdict.outcome is Outcome.OPEN:
        yield say_named("next_stage.out_of_reach", arm=arm)
    else:
        yield say("{arm}: first correct what kept it from being judged; its verdict names it.", arm=arm)


def _open_questions(verdict: Judged) -> Iterator[Phrase]:
    """What to check after an improvement, before more is spent."""
    comparison, endpoint = verdict.comparison, verdict.comparison.choice.endpoint
    if fewer_solved(comparison.arm, endpoint=endpoint) is not None:
        yield say("Before that, look at the questions that several tries no longer solve (see the risks).")
    used = [run for run in comparison.arm.used if run.run.seed in comparison.scores.evaluations]
    tried = ((run, run.epochs(split=endpoint.picked_by, setting=endpoint.setting)) for run in used)
    late = sum(len(epochs) > 1 and selected_epoch(run, endpoint=endpoint) == epochs[-1] for run, epochs in tried)
    if 2 * late > len(used):
        yield say_named("next_stage.peaked_late", split=endpoint.picked_by, late=late, seeds=len(used))


def _to_settle(plan: Plan, *, costs: Costs) -> Iterator[Phrase]:
    difference, missing = plan.verdict.difference, plan.more_runs
    assert difference is not None
    yield say_named(
        "next_stage.decide",
        arm=plan.verdict.arm,
        points=100 * plan.effect,
        now_seeds=difference.num_seeds,
        now_questions=plan.verdict.comparison.num_questions,
        **plan.in_words,
    )
    more = sum(missing.values())
    if more == 1:
        yield say("One more run takes {cost}.", cost=costs.of(missing))
    if more > 1:
        yield say("{more} more runs take {cost}.", more=more, cost=costs.of(missing))
    if plan.questions > plan.verdict.comparison.num_questions:
        yield say("More questions need no training: evaluate.py asks the runs that are there.")
    yield look_again(plan)


def look_again(plan: Plan) -> Phrase:
    """What a second look at the same study costs; nothing was looked at before there were FEWEST_SEEDS seeds."""
    assert plan.verdict.difference is not None and plan.verdict.difference.num_seeds >= FEWEST_SEEDS
    return say_named("next_stage.look", seeds=plan.seeds, questions=plan.questions)
