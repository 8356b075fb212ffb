"""The table of the paper (its Table 3), the breakdown by kind of problem, and what the judge said."""

from collections.abc import Iterator, Sequence

import numpy as np

from vlm_rl.evaluation.pass_at_k import pass_at_k_by_question
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval, lucky_max, mean_interval
from vlm_rl.reports.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.evaluations import VERDICTS, Evaluation
from vlm_rl.reports.table import Row, Table, number, percent, points, text

LUCKY_MAX_STREAM = 2007  # its own fixed stream: the same records give the same report


def accuracy_table(records: Records) -> Table:
    """Vanilla, mean, maximum and last of the epochs, as Table 3, each averaged over seeds."""
    keys = [(arm, split, name) for arm in records.shown for split in records.splits() for name in records.settings()]
    return Table(
        name="accuracy",
        title="Accuracy by arm, split and setting (%)",
        note=(
            "Each entry is an average over seeds; in brackets its two-sided 95 % t-interval over seeds. Mean and "
            "maximum are over the epochs after training began. A maximum over epochs is lifted by noise alone: "
            "beside it stands the maximum that as many evaluations of the untrained model would show, resampled "
            "from its stored samples (missing where only one sample of a question is stored)."
        ),
        columns=(
            text("arm", title="Arm"),
            text("split", title="Split"),
            text("setting", title="Setting"),
            number("seeds", title="Seeds"),
            percent("vanilla", title="Vanilla"),
            percent("mean", title="Mean over epochs"),
            percent("max", title="Max over epochs"),
            percent("lucky_max", title="Max by luck alone"),
            percent("last", title="Last epoch"),
            number("last_epoch", title="Epoch"),
        ),
        rows=tuple(row for arm, split, setting in keys for row in _accuracy_row(arm, split=split, setting=setting)),
    )


def _accuracy_row(arm: Arm, *, split: str, setting: str) -> Iterator[Row]:
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    curves = [_accuracies(records, split=split, setting=setting) for records in arm.used]
    trained = [curve for curve in curves if curve]
    if not untrained and not trained:
        return
    last = arm.last_epoch(split=split, setting=setting)
    at_last = [] if last is None else arm.evaluated(epoch=last, split=split, setting=setting)
    yield {
        "arm": arm.label,
        "split": split,
        "setting": setting,
        "seeds": len(trained) or len(untrained),
        "vanilla": accuracy_interval(untrained),
        "mean": mean_interval([float(np.mean(curve)) for curve in trained]),
        "max": mean_interval([max(curve) for curve in trained]),
        "lucky_max": _lucky_max(untrained, num_evaluations=max(map(len, trained), default=0)),
        "last": accuracy_interval(at_last),
        "last_epoch": last,
    }


def _accuracies(records: RunRecords, *, split: str, setting: str) -> list[float]:
    epochs = records.epochs(split=split, setting=setting)
    return [records.evaluations[epoch, split, setting].accuracy() for epoch in epochs]


def accuracy_interval(evaluations: Sequence[Evaluation]) -> Interval:
    """Accuracy averaged over the seeds of an arm."""
    return mean_interval([evaluation.accuracy() for evaluation in evaluations])


def _lucky_max(untrained: Sequence[Evaluation], *, num_evaluations: int) -> Interval:
    """The control of a maximum, averaged over seeds; none where questions have unequal numbers of samples."""
    expected = []
    for evaluation in untrained:
        num_samples = int(evaluation.num_samples.max(initial=0))
        if (evaluation.num_samples != num_samples).any():
            continue
        scores = pass_at_k_by_question(np.arange(num_samples + 1), num_samples=num_samples, k=k_of(evaluation.setting))
        generator = np.random.Generator(np.random.Philox(key=LUCKY_MAX_STREAM))
        luck = lucky_max(evaluation.num_correct, score_by_correct=scores, num_evaluations=num_evaluations, generator=generator)
        expected.append(luck)
    return mean_interval(expected)


def breakdown_table(records: Records, *, setting: str) -> Table:
    """Accuracy by modality and by kind of problem at the last epoch, beside the untrained model."""
    rows = [
        row
        for arm in records.shown
        for split in records.splits()
        for field in ("modality", "kind")
        for row in _breakdown_rows(arm, split=split, setting=setting, field=field)
    ]
    return Table(
        name="accuracy_by_kind",
        title=f"Accuracy by kind of problem, {title_of(setting)} (%)",
        note="At the last epoch. Averages over seeds with 95 % t-intervals over seeds; the gain is paired by seed. "
        "Modality says where the numbers stand: in the question (text) or only in the figure (vision).",
        columns=(
            text("arm", title="Arm"),
            text("split", title="Split"),
            text("by", title="By"),
            text("value", title="Problems"),
            number("questions", title="Questions"),
            percent("vanilla", title="Vanilla"),
            percent("last", title="Last epoch"),
            points("gain", title="Gain, points"),
        ),
        rows=tuple(rows),
    )


def _breakdown_rows(arm: Arm, *, split: str, setting: str, field: str) -> Iterator[Row]:
    last = arm.last_epoch(split=split, setting=setting)
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    at_last = [] if last is None else arm.evaluated(epoch=last, split=split, setting=setting)
    everything = [*untrained, *at_last]
    for value in sorted({value for evaluation in everything for value in getattr(evaluation.questions, field)} - {""}):
        yield {
            "arm": arm.label,
            "split": split,
            "by": field,
            "value": value,
            "questions": getattr(everything[-1].questions, field).count(value),
            "vanilla": mean_interval([_share(evaluation, field=field, value=value) for evaluation in untrained]),
            "last": mean_interval([_share(evaluation, field=field, value=value) for evaluation in at_last]),
            "gain": mean_interval(_share_gains(arm, split=split, setting=setting, epoch=last, field=field, value=value)),
        }


def _share_gains(arm: Arm, *, split: str, setting: str, epoch: int | None, field: str, value: str) -> list[float]:
    """The gain of each seed over its own untrained model, on one kind of problem."""
    pairs = [
        (records.evaluations.get((UNTRAINED_EPOCH, split, setting)), records.evaluations.get((epoch or -1, split, setting)))
        for records in arm.used
    ]
    return [
        _share(after, field=field, value=value) - _share(before, field=field, value=value)
        for before, after in pairs
        if before is not None and after is not None
    ]


def _share(evaluation: Evaluation, *, field: str, value: str) -> float:
    chosen = np.array(getattr(evaluation.questions, field)) == value
    return float(evaluation.scores()[chosen].mean()) if chosen.any() else float("nan")


def verdict_table(records: Records, *, setting: str) -> Table:
    """What the judge said of every sample, and how responses ended; counts over all seeds."""
    rows = [
        row for arm in records.shown for split in records.splits() for row in _verdict_rows(arm, split=split, setting=setting)
    ]
    return Table(
        name="verdicts",
        title=f"Verdicts of the judge, {title_of(setting)}",
        note="Samples counted over all seeds, at epoch 0 (Vanilla) and at the last epoch.",
        columns=(
            text("arm", title="Arm"),
            text("split", title="Split"),
            number("epoch", title="Epoch"),
            number("samples", title="Samples"),
            *(number(verdict, title=verdict.replace("_", " ").capitalize()) for verdict in VERDICTS),
            number("not_boxed", title="Not boxed"),
            number("truncated", title="Cut off"),
        ),
        rows=tuple(rows),
    )


def _verdict_rows(arm: Arm, *, split: str, setting: str) -> Iterator[Row]:
    last = arm.last_epoch(split=split, setting=setting) or UNTRAINED_EPOCH
    for epoch in sorted({UNTRAINED_EPOCH, last}):
        evaluations = arm.evaluated(epoch=epoch, split=split, setting=setting)
        if evaluations:
            yield {"arm": arm.label, "split": split, "epoch": epoch, **_verdict_counts(evaluations)}


def _verdict_counts(evaluations: Sequence[Evaluation]) -> dict[str, int]:
    return {
        "samples": sum(int(evaluation.num_samples.sum()) for evaluation in evaluations),
        **{verdict: sum(evaluation.verdicts[verdict] for evaluation in evaluations) for verdict in VERDICTS},
        "not_boxed": sum(evaluation.num_unboxed for evaluation in evaluations),
        "truncated": sum(evaluation.num_truncated for evaluation in evaluations),
    }
