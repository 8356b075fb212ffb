"""Accuracy by arm, split and setting: over epochs, by pass@k, by kind of problem, and what the judge said. No verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.pass_at_k import pass_at_k_by_question
from vlm_rl.evaluation.response_metrics import VERDICTS
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval, lucky_max, mean_interval
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Records, evaluated_as_it_came, vanilla_models
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.results import BySeed, Results, mean_accuracy, results_of
from vlm_rl.reports.tables.table import Column, Row, Table, known_word, table_of

LUCKY_MAX_STREAM = 2007  # its own fixed stream: the same records give the same report
MOST_VALUES = 40  # of one field: a field that names every row breaks nothing down
MOST_COLUMNS = 8  # of pass@k; with more samples k doubles from column to column


def accuracy_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Vanilla, mean and maximum over epochs, luck, the epoch that validation selects and the last one, each averaged over seeds."""
    rows = (_accuracy_row(found) for found in results_of(records, endpoint=endpoint) if found.vanilla or found.curves)
    return table_of("accuracy", rows, split=endpoint.picked_by, setting=title_of(endpoint.setting))


def _accuracy_row(results: Results) -> Row:
    vanilla, curves = results.vanilla, results.curves
    return {
        "arm": results.arm.label,
        "split": results.split,
        "setting": results.setting,
        "seeds": len(curves) or len(vanilla),
        "vanilla": mean_accuracy(vanilla),
        "mean": mean_interval([float(np.mean(curve)) for curve in curves]),
        "max": mean_interval([max(curve) for curve in curves]),
        "lucky_max": _lucky_max(vanilla, num_evaluations=results.num_evaluations),
        "picked": mean_accuracy(results.selected),
        "selected_epochs": ", ".join(str(epoch) for epoch in results.selected_epochs.values() if epoch is not None),
        "last": mean_accuracy(results.last),
        "last_epoch": results.last_epoch,
    }


def _lucky_max(vanilla: BySeed, *, num_evaluations: Mapping[int, int]) -> Interval:
    """The control of a maximum over so many evaluations of each seed, averaged; none where questions have unequal numbers of samples."""
    expected = []
    for seed, evaluation in vanilla.items():
        num_samples = int(evaluation.num_samples.max(initial=0))
        if (evaluation.num_samples == num_samples).all():
            sizes = {"num_samples": num_samples, "k": k_of(evaluation.setting), "num_evaluations": num_evaluations[seed]}
            expected.append(_lucky_max_of(tuple(evaluation.num_correct.tolist()), **sizes))
    return mean_interval(expected)


@cache  # arms share their vanilla models
def _lucky_max_of(num_correct: tuple[int, ...], *, num_samples: int, k: int, num_evaluations: int) -> float:
    scores = pass_at_k_by_question(np.arange(num_samples + 1), num_samples=num_samples, k=k)
    generator = np.random.Generator(np.random.Philox(key=LUCKY_MAX_STREAM))
    return lucky_max(np.array(num_correct), score_by_correct=scores, num_evaluations=num_evaluations, generator=generator)


def breakdown_table(records: Records, *, endpoint: Endpoint, fields: Sequence[str] = ("modality", "kind")) -> Table:
    """Accuracy by any field of a row at the selected epochs, beside the vanilla model."""
    found = product(results_of(records, endpoint=endpoint, setting=endpoint.setting), fields)
    rows = (row for results, field in found for row in _breakdown_rows(results, field=field))
    return table_of("accuracy_by_kind", rows, setting=title_of(endpoint.setting), most=MOST_VALUES)


def _breakdown_rows(results: Results, *, field: str) -> Iterator[Row]:
    vanilla, selected = list(results.vanilla.values()), list(results.selected.values())
    everything = [*vanilla, *selected]
    values = sorted({value for evaluation in everything for value in evaluation.questions.values(field)} - {""})
    for value in values if len(values) <= MOST_VALUES else ():
        share = partial(share_right, field=field, value=value)
        yield {
            "arm": results.arm.label,
            "split": results.split,
            "by": known_word(field),
            "value": known_word(value),
            "questions": everything[-1].questions.values(field).count(value),
            "seeds": len(selected) or len(vanilla),
            "vanilla": mean_interval(list(map(share, vanilla))),
            "picked": mean_interval(list(map(share, selected))),
            "gain": mean_interval([share(after) - share(before) for before, after in results.gained(results.selected)]),
        }


def share_right(evaluation: Evaluation, *, field: str, value: str) -> float:
    """Accuracy on the questions whose field has this value; NaN without any."""
    return evaluation.accuracy_of([own == value for own in evaluation.questions.values(field)])


def verdict_table(records: Records, *, endpoint: Endpoint) -> Table:
    """What the judge said of every sample, and how responses ended; counts over all seeds, vanilla and at the last epoch."""
    found = results_of(records, endpoint=endpoint, setting=endpoint.setting)
    rows = (row for results in found for row in _verdict_rows(results))
    return table_of("verdicts", rows, setting=title_of(endpoint.setting))


def _verdict_rows(results: Results) -> Iterator[Row]:
    for epoch, found in ((VANILLA_EPOCH, results.vanilla), (results.last_epoch, results.last)):
        evaluations = list(found.values())
        if evaluations:
            yield {
                "arm": results.arm.label,
                "split": results.split,
                "epoch": epoch,
                "samples": sum(int(evaluation.num_samples.sum()) for evaluation in evaluations),
                **{verdict: sum(evaluation.verdicts[verdict] for evaluation in evaluations) for verdict in VERDICTS},
                "not_boxed": sum(evaluation.num_unboxed for evaluation in evaluations),
                "truncated": sum(evaluation.num_truncated for evaluation in evaluations),
            }


def pass_at_table(records: Records, *, endpoint: Endpoint) -> Table:
    """pass@1 to pass@n wherever n > 1 samples are stored: the vanilla model once, each arm at the epochs that validation selected."""
    keys = product(records.splits(), records.settings())
    rows = [row for split, name in keys for row in _pass_at_rows(records, endpoint=endpoint, split=split, setting=name)]
    shown = sorted({int(key.removeprefix("pass@")) for row in rows for key in row if key.startswith("pass@")})
    more = [Column(key=f"pass@{k}", title=say("pass@{k}", k=k), how="percent") for k in shown]
    return table_of("pass_at_k", rows, more=more)


def pass_at_levels(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> list[tuple[str, BySeed]]:
    """Whose samples are compared, by seed: each vanilla model, then each arm at the epochs that validation selected."""
    levels: list[tuple[str, BySeed]] = [
        (model.label, model.by_seed(split=split, setting=setting)) for model in vanilla_models(records)
    ]
    for arm in records.shown:
        found = Results(arm=arm, split=split, setting=setting, endpoint=endpoint).selected
        levels.append((arm.label, found or evaluated_as_it_came(arm, split=split, setting=setting)))
    return levels


def _pass_at_rows(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    for label, found in pass_at_levels(records, endpoint=endpoint, split=split, setting=setting):
        num_samples = min((int(evaluation.num_samples.min()) for evaluation in found.values()), default=0)
        if num_samples < 2:
            continue
        curves = np.array([evaluation.pass_curve(num_samples).mean(axis=0) for evaluation in found.values()])
        cells = {f"pass@{k}": mean_interval(curves[:, k - 1]) for k in _shown_k(num_samples)}
        yield {"split": split, "setting": title_of(setting), "arm": label, "seeds": len(found), **cells}


def _shown_k(num_samples: int) -> list[int]:
    if num_samples <= MOST_COLUMNS:
        return list(range(1, num_samples + 1))
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples})
