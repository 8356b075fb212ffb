"""Accuracy by what the data says of a problem, and what the judge said of the responses."""

from collections.abc import Iterator, Sequence
from itertools import product

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation
from vlm_rl.reports.tables.table import Row, Table, known_word, table_of
from vlm_rl.reports.verdicts.endpoint_scores import at_picks, before_and_at_pick

MOST_VALUES = 40  # of one field: a field that names every row breaks nothing down


def breakdown_table(records: Records, *, endpoint: Endpoint, fields: Sequence[str] = ("modality", "kind")) -> Table:
    """Accuracy by any field of a row at the picked epochs, beside the untrained model."""
    keys = product(records.shown, records.splits(), fields)
    rows = (row for arm, split, field in keys for row in _breakdown_rows(arm, endpoint=endpoint, split=split, field=field))
    return table_of("accuracy_by_kind", rows, setting=title_of(endpoint.setting), most=MOST_VALUES)


def _breakdown_rows(arm: Arm, *, endpoint: Endpoint, split: str, field: str) -> Iterator[Row]:
    setting = endpoint.setting
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    picked = list(at_picks(arm, endpoint=endpoint, split=split, setting=setting).values())
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
    return evaluation.accuracy_of([own == value for own in evaluation.questions.values(field)])


def verdict_table(records: Records, *, setting: str) -> Table:
    """What the judge said of every sample, and how responses ended; counts over all seeds."""
    places = product(records.shown, records.splits())
    rows = (row for arm, split in places for row in _verdict_rows(arm, split=split, setting=setting))
    return table_of("verdicts", rows, setting=title_of(setting))


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
