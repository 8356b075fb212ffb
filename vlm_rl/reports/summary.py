"""What happened, in a few plain sentences of measured numbers. No verdict: whether a gain is real is decided elsewhere."""

from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.accuracy_tables import accuracy_interval
from vlm_rl.reports.arms import Arm, Records
from vlm_rl.reports.gain_tables import Gain, gain_of
from vlm_rl.reports.table import in_percent


def summarise(records: Records, *, setting: str) -> list[str]:
    """A sentence for each arm and split, then one for runs that nothing speaks of."""
    sentences = [
        sentence
        for arm in records.shown
        for split in records.splits()
        for sentence in _arm_sentences(arm, split=split, setting=setting)
    ]
    return sentences + list(_unfinished(records.arms))


def _arm_sentences(arm: Arm, *, split: str, setting: str) -> Iterator[str]:
    gain = gain_of(arm, split=split, setting=setting)
    if gain is not None:
        yield _gain_sentence(gain)
        return
    last = arm.last_epoch(split=split, setting=setting) or 0
    evaluations = arm.evaluated(epoch=last, split=split, setting=setting)
    if evaluations:
        missing = "" if arm.is_untrained else " No untrained model was found beside it, so no gain is given."
        level = accuracy_interval(evaluations)
        where = f"accuracy on {split} ({title_of(setting)})"
        yield f"{arm.label}: {where} is {_level(level)} at epoch {last}{_interval(level)}.{missing}"


def _gain_sentence(gain: Gain) -> str:
    before, after, change = accuracy_interval(gain.before), accuracy_interval(gain.after), gain.over_seeds()
    verb = "stayed at" if round(1000 * change.estimate) == 0 else "rose from" if change.estimate > 0 else "fell from"
    path = _level(after) if verb == "stayed at" else f"{_level(before)} to {_level(after)}"
    return (
        f"{gain.arm.label}: accuracy on {gain.split} ({title_of(gain.setting)}) {verb} {path} at epoch {gain.epoch}, "
        f"{100 * change.estimate:+.1f} points{_interval(change)}."
    )


def _interval(interval: Interval) -> str:
    if interval.num_seeds < 2:
        return ", this run only"
    same = ", the seeds do not differ at all" if interval.low == interval.high else ""
    return f", 95 % t-interval over {interval.num_seeds} seeds {in_percent(interval)}{same}"


def _level(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} %"


def _unfinished(arms: Sequence[Arm]) -> Iterator[str]:
    for arm in arms:
        names = ", ".join(f"seed {records.run.seed}" for records in arm.runs if not records.run.finished)
        if names:
            fate = "left out of means and tables" if arm.left_out else "all that there is, and what is said here may change"
            yield f"{arm.label}: unfinished runs are {names}, {fate}."
