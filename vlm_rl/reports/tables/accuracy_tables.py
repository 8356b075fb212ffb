"""Accuracy by arm, split and setting. Levels only, no verdicts."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.pass_at_k import pass_at_k_by_question
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval, lucky_max, mean_interval
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, evaluated_as_it_came, untrained_models
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation
from vlm_rl.reports.tables.table import Column, Row, Table, known_word, table_of
from vlm_rl.reports.verdicts.endpoint_scores import at_picks, before_and_at_pick, picked_epoch

LUCKY_MAX_STREAM = 2007  # its own fixed stream: the same records give the same report


def accuracy_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Vanilla, mean and maximum over epochs, luck, the epoch that validation picks and the last one, each averaged over seeds."""
    keys = product(records.shown, records.splits(), records.settings())
    rows = (row for arm, split, name in keys for row in _accuracy_row(arm, endpoint=endpoint, split=split, setting=name))
    return table_of("accuracy", rows, split=endpoint.picked_by, setting=title_of(endpoint.setting))


def _accuracy_row(arm: Arm, *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    trained = curves_of(arm, split=split, setting=setting)
    if not untrained and not trained:
        return
    last = arm.last_epoch(split=split, setting=setting)
    at_last = [] if last is None else arm.evaluated(epoch=last, split=split, setting=setting)
    picked = at_picks(arm, endpoint=endpoint, split=split, setting=setting)
    epochs = [picked_epoch(run, endpoint=endpoint) for run in arm.used]
    yield {
        "arm": arm.label,
        "split": split,
        "setting": setting,
        "seeds": len(trained) or len(untrained),
        "vanilla": accuracy_interval(untrained),
        "mean": mean_interval([float(np.mean(curve)) for curve in trained]),
        "max": mean_interval([max(curve) for curve in trained]),
        "lucky_max": _lucky_max(untrained, num_evaluations=max(map(len, trained), default=0)),
        "picked": accuracy_interval(list(picked.values())),
        "picked_epochs": ", ".join(str(epoch) for epoch in epochs if epoch is not None),
        "last": accuracy_interval(at_last),
        "last_epoch": last,
    }


def curves_of(arm: Arm, *, split: str, setting: str) -> list[list[float]]:
    """Accuracy by epoch of each used run that was evaluated after training began."""
    curves = [[one.accuracy() for one in run.over_epochs(split=split, setting=setting)] for run in arm.used]
    return [curve for curve in curves if curve]


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


MOST_COLUMNS = 8  # with more samples k doubles from column to column


def pass_at_table(records: Records, *, endpoint: Endpoint) -> Table:
    """pass@1 to pass@n wherever n > 1 samples are stored: the untrained model once, each arm at the epochs that validation picked."""
    keys = product(records.splits(), records.settings())
    rows = [row for split, name in keys for row in _rows(records, endpoint=endpoint, split=split, setting=name)]
    shown = sorted({int(key.removeprefix("pass@")) for row in rows for key in row if key.startswith("pass@")})
    more = [Column(key=f"pass@{k}", title=say("pass@{k}", k=k), how="percent") for k in shown]
    return table_of("pass_at_k", rows, more=more)


def pass_at_levels(
    records: Records, *, endpoint: Endpoint, split: str, setting: str
) -> list[tuple[str, dict[int, Evaluation]]]:
    """Whose samples are compared, by seed: each untrained model, then each arm at the epochs that validation picked."""
    levels: list[tuple[str, dict[int, Evaluation]]] = [
        (model.label, model.by_seed(split=split, setting=setting)) for model in untrained_models(records)
    ]
    for arm in records.shown:
        found = at_picks(arm, endpoint=endpoint, split=split, setting=setting)
        levels.append((arm.label, found or evaluated_as_it_came(arm, split=split, setting=setting)))
    return levels


def _rows(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    for label, found in pass_at_levels(records, endpoint=endpoint, split=split, setting=setting):
        evaluations = list(found.values())
        num_samples = min((int(evaluation.num_samples.min()) for evaluation in evaluations), default=0)
        if num_samples < 2:
            continue
        curves = np.array([one.pass_curve(num_samples).mean(axis=0) for one in evaluations])
        cells = {f"pass@{k}": mean_interval(curves[:, k - 1]) for k in _shown_k(num_samples)}
        yield {"split": split, "setting": title_of(setting), "arm": label, "seeds": len(evaluations), **cells}


def _shown_k(num_samples: int) -> list[int]:
    if num_samples <= MOST_COLUMNS:
        return list(range(1, num_samples + 1))
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples})
