"""Accuracy by what the data says of a problem, and what the judge said of the responses."""

from collections.abc import Iterator, Sequence

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import paragraph, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation
from vlm_rl.reports.tables.known_words import known_word
from vlm_rl.reports.tables.table import Row, Table, number, percent, points, text
from vlm_rl.reports.verdicts.picks import at_pick, before_and_at_pick

MOST_VALUES = 40  # of one field: a field that names every row breaks nothing down


def breakdown_table(records: Records, *, endpoint: Endpoint, fields: Sequence[str] = ("modality", "kind")) -> Table:
    """Accuracy by any field of a row at the picked epochs, beside the untrained model."""
    rows = [
        row
        for arm in records.shown
        for split in records.splits()
        for field in fields
        for row in _breakdown_rows(arm, endpoint=endpoint, split=split, field=field)
    ]
    return Table(
        name="accuracy_by_kind",
        title=say("Accuracy by kind of problem, {setting} (%)", setting=title_of(endpoint.setting)),
        note=paragraph(
            say("Each seed at the epoch that validation picked. Secondary: many small groups, so some differ by chance."),
            say("Averages over seeds with 95 % t-intervals over seeds; the gain is paired by seed."),
            say("Modality says where the numbers stand: in the question (text) or only in the figure (vision)."),
            say("A field with more than {most} values is left out.", most=MOST_VALUES),
        ),
        columns=(
            text("arm", title=say("Arm")),
            text("split", title=say("Split")),
            text("by", title=say("By")),
            text("value", title=say("Problems")),
            number("questions", title=say("Questions")),
            number("seeds", title=say("Seeds")),
            percent("vanilla", title=say("Vanilla")),
            percent("picked", title=say("Accuracy at the picked epoch")),
            points("gain", title=say("Gain, points")),
        ),
        rows=tuple(rows),
    )


def _breakdown_rows(arm: Arm, *, endpoint: Endpoint, split: str, field: str) -> Iterator[Row]:
    setting = endpoint.setting
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    picks = (at_pick(run, endpoint=endpoint, split=split, setting=setting) for run in arm.used)
    picked = [evaluation for evaluation in picks if evaluation is not None]
    pairs = before_and_at_pick(arm, endpoint=endpoint, split=split, setting=setting)
    everything = [*untrained, *picked]
    values = sorted({value for evaluation in everything for value in evaluation.questions.values(field)} - {""})
    for value in values if len(values) <= MOST_VALUES else ():
        yield {
            "arm": arm.label,
            "split": split,
            "by": known_word(field),
            "value": known_word(value),
            "questions": everything[-1].questions.values(field).count(value),
            "seeds": len(picked) or len(untrained),
            "vanilla": mean_interval([share(evaluation, field=field, value=value) for evaluation in untrained]),
            "picked": mean_interval([share(evaluation, field=field, value=value) for evaluation in picked]),
            "gain": mean_interval(
                [share(after, field=field, value=value) - share(before, field=field, value=value) for before, after in pairs]
            ),
        }


def share(evaluation: Evaluation, *, field: str, value: str) -> float:
    """Accuracy on the questions whose field has this value; NaN without any."""
    chosen = np.array(evaluation.questions.values(field)) == value
    return float(evaluation.scores()[chosen].mean()) if chosen.any() else float("nan")


def verdict_table(records: Records, *, setting: str) -> Table:
    """What the judge said of every sample, and how responses ended; counts over all seeds."""
    rows = [
        row for arm in records.shown for split in records.splits() for row in _verdict_rows(arm, split=split, setting=setting)
    ]
    return Table(
        name="verdicts",
        title=say("Marks of the judge, {setting}", setting=title_of(setting)),
        note=say("Samples counted over all seeds, at epoch 0 (Vanilla) and at the last epoch."),
        columns=(
            text("arm", title=say("Arm")),
            text("split", title=say("Split")),
            number("epoch", title=say("Epoch")),
            number("samples", title=say("Samples")),
            number("correct", title=say("Correct")),
            number("wrong", title=say("Wrong")),
            number("unparsable", title=say("Unparsable")),
            number("timed_out", title=say("Timed out")),
            number("not_boxed", title=say("Not boxed")),
            number("truncated", title=say("Cut off")),
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
