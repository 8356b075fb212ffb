"""What the runs cost, as measured; the next stage, which follows from the verdict by rule; and what that would cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.first_page.risks import fewer_solved
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.reading.results import selected_epoch
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.cost_tables import device_hours, points_per_device_hour
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import TIMES_AS_MANY, count_range, more_needed, scarcer, sentence_of

LARGEST_RATIO = 1.5  # slowest to fastest run of an arm; beyond it the machine, not the arm, was measured


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What one more run of an arm costs: the mean over the used runs whose time is known."""

    arm: Arm
    settings: ReportSettings

    @cached_property
    def hours(self) -> list[float]:
        """Device hours of each."""
        return [hours for run in self.arm.used if not math.isnan(hours := device_hours(run))]

    @property
    def is_uneven(self) -> bool:
        """Whether the runs took such different times that their mean does not describe the arm."""
        return bool(self.hours) and max(self.hours) > LARGEST_RATIO * min(self.hours)

    def of_runs(self, num_runs: int) -> Phrase:
        """`1.20 device hours (3.00 USD)`, or minutes where it is less than one."""
        if not self.hours:
            return say("an unknown time")
        hours, price = num_runs * (math.fsum(self.hours) / len(self.hours)), self.settings.price_per_device_hour
        in_minutes = say("{minutes} device minutes", minutes=amount(60 * hours))
        time = in_minutes if hours < 1 else say("{hours} device hours", hours=amount(hours))
        if price is None:
            return time
        return say("{time} ({money} {currency})", time=time, money=amount(hours * price), currency=self.settings.currency)


def amount(value: float) -> str:
    """Three digits: 0.0123, 1.23, 12.3, 1,230."""
    rounded = float(f"{value:.3g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:.0f}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def next_stages(verdicts: Sequence[Judged], *, costs: Mapping[str, RunCost]) -> Iterator[Phrase]:
    """A paragraph for each arm: scale up, stop, or how many more seeds or questions decide."""
    for verdict in verdicts:
        yield paragraph(*_next_stage(verdict, cost=costs[verdict.arm]))
    if not verdicts:
        yield say("Train an arm with at least three seeds beside its vanilla model: nothing can be judged yet.")


def _next_stage(verdict: Judged, *, cost: RunCost) -> Iterator[Phrase]:
    num_runs = len(verdict.comparison.scores.evaluations)
    more = FEWEST_SEEDS - num_runs
    if verdict.outcome in (Outcome.IMPROVEMENT, Outcome.HARM, Outcome.NO_DIFFERENCE):
        yield sentence_of(verdict, "next_stage")
        if verdict.outcome is Outcome.IMPROVEMENT:
            yield from _open_questions(verdict)
            yield say_named("next_stage.again", runs=num_runs, cost=cost.of_runs(num_runs))
    elif verdict.outcome is Outcome.OPEN and verdict.difference is not None:
        yield from _to_settle(verdict, difference=verdict.difference, cost=cost)
    elif more > 0:
        name = "next_stage.one_more" if more == 1 else "next_stage.more"
        yield say_named(name, arm=verdict.arm, more=more, cost=cost.of_runs(more))
    else:
        yield say("{arm}: first correct what kept it from being judged; its verdict names it.", arm=verdict.arm)


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


def _to_settle(verdict: Judged, *, difference: Difference, cost: RunCost) -> Iterator[Phrase]:
    """The first design that can be run: for the smallest effect that matters, or else for the one that was measured.

    First more of what causes most uncertainty (seeds or questions), then that with several times as many of the other.
    """
    designs = (
        (effect, times, more_needed(verdict, difference=difference, effect=effect, times=times))
        for effect in (verdict.smallest_effect, abs(difference.estimate))
        for times in (1, TIMES_AS_MANY)
    )
    found = next((design for design in designs if math.isfinite(design[2].estimate)), None)
    if found is None:
        yield say_named("next_stage.out_of_reach", arm=verdict.arm)
        return
    effect, times, needed = found
    kind, sizes = scarcer(difference), {"seeds": times * difference.num_seeds, "questions": times * difference.num_questions}
    in_words = {name: say("{number:,}", number=size) for name, size in sizes.items()}
    sizes[kind], in_words[kind] = int(needed.estimate), count_range(needed, kind=kind)
    yield say_named(
        "next_stage.decide",
        arm=verdict.arm,
        points=100 * effect,
        now_seeds=difference.num_seeds,
        now_questions=difference.num_questions,
        **in_words,
    )
    more = sizes["seeds"] - difference.num_seeds
    if more == 1:
        yield say("One more seed takes {cost}.", cost=cost.of_runs(1))
    if more > 1:
        yield say("{more} more seeds take {cost}.", more=more, cost=cost.of_runs(more))
    if sizes["questions"] > difference.num_questions:
        yield say("More questions need no training: evaluate.py asks the runs that are there.")


def cost_sentences(verdicts: Sequence[Judged], *, costs: Mapping[str, RunCost], endpoint: Endpoint) -> Iterator[Phrase]:
    """For each arm the cost of a run and of a point gained; then what these figures leave out."""
    improved = {verdict.arm for verdict in verdicts if verdict.outcome is Outcome.IMPROVEMENT}
    for label, cost in costs.items():
        points = points_per_device_hour(cost.arm, endpoint=endpoint).estimate if label in improved else math.nan
        of_a_point = say_named("cost.of_a_point", minutes=amount(60 / points)) if points > 0 else ""
        yield paragraph(_of_runs(cost), of_a_point)
    uneven = say(
        "Runs of one arm that differ so much in time probably shared their machine: do not compare arms by their time."
    )
    left_out = say("Not included: the search for learning rates, the evaluation of the vanilla model and the controls.")
    if any(cost.hours for cost in costs.values()):
        yield paragraph(uneven if any(cost.is_uneven for cost in costs.values()) else "", left_out)
    if not costs:
        yield say("Nothing was trained here.")


def _of_runs(cost: RunCost) -> Phrase:
    arm = cost.arm
    if not cost.hours:
        return say("{arm}: the time of its runs, or the number of their devices, is not known.", arm=arm.label)
    values = {"arm": arm.label, "one": cost.of_runs(1), "all": cost.of_runs(len(arm.used)), "runs": len(arm.used)}
    if not cost.is_uneven:
        return say("{arm}: {one} a run, {all} for all {runs} runs.", **values)
    low, high = (amount(60 * end) for end in (min(cost.hours), max(cost.hours)))
    return say("{arm}: {one} a run ({low} to {high} minutes), {all} for all {runs} runs.", low=low, high=high, **values)
