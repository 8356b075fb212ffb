"""All verdicts in one paragraph, with their intervals and whether they clear the smallest effect that matters."""

from collections.abc import Iterator, Mapping, Sequence

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.arms_in_words import MOST_NAMED, name_of, with_names
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import interval_name, short_verdict


def headline_of(verdicts: Sequence[Judged], *, badges: Mapping[str, Phrase]) -> Phrase:
    """Where there are many arms, they are grouped by verdict (`badges`, in two words): a few by name, more as a count."""
    if not verdicts:
        return say("No verdict: no trained run was evaluated beside its vanilla model.")
    if len(verdicts) > MOST_NAMED:
        return paragraph(*_by_outcome(verdicts, badges=badges))
    return paragraph(*(sentence for verdict in verdicts for sentence in (_named(verdict), clears_delta(verdict))))


def clears_delta(verdict: Judged) -> Phrase | str:
    """Whether a decided effect is larger than the smallest that matters; empty where nothing is decided."""
    delta, interval = verdict.smallest_effect, verdict.agreeing
    if verdict.outcome in (Outcome.OPEN, Outcome.NOT_JUDGED):
        return ""
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        return say_named("headline.equivalent", **in_points(interval), interval=interval_name(verdict), delta=100 * delta)
    nearest, farthest = sorted(map(abs, (interval.low, interval.high)))
    where = "beyond" if nearest > delta else "within" if farthest < delta else "around"
    return say_named(f"headline.{where}_delta", delta=100 * delta)


def in_points(interval: Interval) -> dict[str, float]:
    """An effect and the ends of its interval as sentences have them; rounded, so that what rounds to 0 is no -0.0."""
    shares = {"gain": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: round(100 * share, 1) + 0.0 for name, share in shares.items()}


def _named(verdict: Judged) -> Phrase:
    sides = (verdict.comparison.arm, verdict.comparison.reference)
    return with_names(short_verdict(verdict), by_label={arm.label: name_of(arm) for arm in sides if arm is not None})


def _by_outcome(verdicts: Sequence[Judged], *, badges: Mapping[str, Phrase]) -> Iterator[Phrase]:
    for outcome, badge in badges.items():
        found = [verdict for verdict in verdicts if verdict.outcome.name.lower() == outcome]
        if len(found) > MOST_NAMED:
            yield say("{outcome}: {count} of {all} arms.", outcome=badge, count=len(found), all=len(verdicts))
        elif found:
            yield say("{outcome}: {arms}.", outcome=badge, arms=listed(map(_with_interval, found)))


def _with_interval(verdict: Judged) -> Phrase | str:
    name = name_of(verdict.comparison.arm)
    if verdict.outcome not in (Outcome.IMPROVEMENT, Outcome.HARM):
        return name
    return say_named("headline.of_many", arm=name, interval=interval_name(verdict), **in_points(verdict.agreeing))
