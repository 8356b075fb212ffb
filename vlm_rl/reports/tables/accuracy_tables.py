"""Accuracy by arm, split and setting. Levels only, no verdicts."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.pass_at_k import pass_at_k_by_question
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval, lucky_max, mean_interval
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import at_picks, picked_epoch

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
