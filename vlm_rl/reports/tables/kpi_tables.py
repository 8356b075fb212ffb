"""Key figures of a team over seeds: the vanilla model, each arm, the difference, and what goes along with them over training."""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.evaluation.dynamics import correlation_within_seeds
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.kpi import Kpi, MinutesSaved, UncheckedShare
from vlm_rl.evaluation.reflection import ReflectionRule, WholeWords
from vlm_rl.evaluation.response_metrics import count_responses
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.rejudge import Rejudge, read_judged
from vlm_rl.reports.reading.results import Pairs, Results
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.tables.table import Row, Table, known_word, table_of
from vlm_rl.reports.verdicts.endpoint_scores import values_of

COLUMNS = (
    *("row_id", "image_id", "kind", "modality", "fields", "sample", "question", "answer"),
    *("response", "verdict", "accuracy", "boxed", "finish_reason", "response_length"),
)
BEHAVIOUR = ("accuracy", "length", "reflection")  # what a key figure may go along with
MOST_SAMPLES = 200_000  # of all epochs and seeds together, whose texts are read for correlations: about half a minute

Measured = tuple[float, ...]  # of one evaluation: the key figures in their order, for names are for people, then BEHAVIOUR


def kpi_tables(
    records: Records,
    *,
    kpis: Sequence[Kpi],
    endpoint: Endpoint,
    rule: ReflectionRule | None = None,
    most_samples: int = MOST_SAMPLES,
) -> tuple[Table, Table]:
    """Each key figure under the endpoint's split and setting: Vanilla, arm at the selected epochs, difference; and correlations.

    The second table says what rises and falls with each key figure over the epochs; it is empty where that is too much to read.
    """
    num_samples = sum(
        int(evaluation.num_samples.sum()) for arm in records.trained for run in arm.used for evaluation in _tried(run, endpoint)
    )
    with_correlations = num_samples <= most_samples
    measured = functools.cache(partial(measure, kpis=kpis, rule=rule or WholeWords(), rejudge=records.rejudge))
    found = [Results(arm=arm, split=endpoint.split, setting=endpoint.setting, endpoint=endpoint) for arm in records.trained]
    rows = [
        _row(kpi, place=place, results=results, pairs=pairs, measured=measured, with_correlations=with_correlations)
        for place, kpi in enumerate(kpis)
        for results in found
        if (pairs := results.gained(results.selected))
    ]
    known = ("kpi", "arm", "seeds", *(f"with_{name}" for name in BEHAVIOUR))
    correlations = [{key: row[key] for key in known} for row in rows if with_correlations]
    left_out = say_named("kpi.correlations_left_out", num=num_samples, split=endpoint.picked_by)
    words = values_of(endpoint) | {
        "of_examples": paragraph(*_example_notes(kpis)),
        "left_out": "" if with_correlations else left_out,
        "of_correlations": say_named("kpi.correlations_shown", split=endpoint.picked_by),
    }
    return table_of("kpi", rows, **words), table_of("kpi_correlations", correlations, **words)


def _row(
    kpi: Kpi,
    *,
    place: int,  # among the measured
    results: Results,
    pairs: Pairs,
    measured: Callable[[Path], Measured],
    with_correlations: bool,
) -> Row:
    before, after = ([measured(evaluation.path)[place] for evaluation in side] for side in zip(*pairs, strict=True))
    tried = [_tried(run, results.endpoint) for run in results.arm.used if with_correlations]
    curves = [np.array([measured(one.path) for one in of_run]).T for of_run in tried if of_run]  # measured x epochs
    return {
        "kpi": known_word(kpi.name),
        "unit": known_word(kpi.unit),
        "better": say("higher") if kpi.higher_is_better else say("lower"),
        "arm": results.arm.label,
        "seeds": len(pairs),
        "vanilla": mean_interval(before),
        "picked": mean_interval(after),
        "difference": mean_interval(np.subtract(after, before)),
        **{
            f"with_{name}": correlation_within_seeds([(curve[place], curve[at]) for curve in curves]).interval
            for at, name in enumerate(BEHAVIOUR, start=-len(BEHAVIOUR))
        },
    }


def measure(path: Path, *, kpis: Sequence[Kpi], rule: ReflectionRule, rejudge: Rejudge | None) -> Measured:
    """Every key figure of one evaluation, and its behaviour. Its texts are read once and forgotten."""
    made = partial(_measured, path, kpis=kpis, rule=rule, rejudge=rejudge)
    return recall("kpis", stamp_of(path), kpis, rule, rejudge, make=made)


def _measured(path: Path, *, kpis: Sequence[Kpi], rule: ReflectionRule, rejudge: Rejudge | None) -> Measured:
    samples, _ = read_judged(path, columns=COLUMNS, rejudge=rejudge)
    known = pc.fill_null(samples["accuracy"], 0.0)  # as everywhere: what was not judged is not right
    samples = samples.set_column(samples.column_names.index("accuracy"), "accuracy", known)
    counts = count_responses(samples, rule=rule)
    behaviour = (counts.accuracy, float(counts.lengths.mean()), counts.reflection.ratios()["reflection_ratio"])
    return (*(_value(kpi, samples=samples, path=path) for kpi in kpis), *behaviour)


def _value(kpi: Kpi, *, samples: pa.Table, path: Path) -> float:
    try:
        return float(kpi(samples))
    except Exception as error:  # a user's own code: whatever it raises, say where
        raise ReportError(
            f"evaluation.kpi: {kpi.name!r} failed on {path}: {type(error).__name__} {error}. Mend it, or leave it out."
        ) from error


def _example_notes(kpis: Sequence[Kpi]) -> Iterator[Phrase]:
    """What a reader must not believe of the two examples."""
    timed = [kpi for kpi in kpis if isinstance(kpi, MinutesSaved)]
    if timed:
        yield say("The minutes of “time saved” are invented examples until a team sets its own.")
    unchecked = [*(kpi for kpi in kpis if isinstance(kpi, UncheckedShare)), *(kpi.unchecked for kpi in timed)]
    if any(kpi.threshold is None for kpi in unchecked):
        yield say_named("kpi.agreement")


def _tried(run: RunRecords, endpoint: Endpoint) -> list[Evaluation]:
    """Epoch 0 is left out: arms share it."""
    return run.over_epochs(split=endpoint.picked_by, setting=endpoint.setting)
