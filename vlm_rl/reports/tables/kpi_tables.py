"""Key figures of a team over seeds: the untrained model, each arm, the difference, and what goes along with them over training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.evaluation.dynamics import correlation_within_seeds
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.kpi import Kpi, MinutesSaved, UncheckedShare
from vlm_rl.evaluation.reflection import ReflectionRule, WholeWords, count_reflection
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.files import read_rows
from vlm_rl.reports.reading.rejudge import Rejudge
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.tables.table import Row, Table, known_word, table_of
from vlm_rl.reports.verdicts.endpoint_scores import before_and_at_pick, values_of

COLUMNS = (
    *("row_id", "image_id", "kind", "modality", "fields", "sample", "question", "answer"),
    *("response", "verdict", "accuracy", "boxed", "finish_reason", "response_length"),
)
MOST_SAMPLES = 200_000  # of all epochs and seeds together, whose texts are read for correlations: about half a minute


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one evaluation says."""

    values: tuple[float, ...]  # of the key figures, in their order: names are for people
    behaviour: Mapping[str, float]  # reflection, length, accuracy


@dataclass(kw_only=True)
class KpiReader:
    """Reads an evaluation's texts once for all key figures, and forgets them: only numbers are kept."""

    kpis: Sequence[Kpi]
    rule: ReflectionRule
    rejudge: Rejudge | None = None
    _found: dict[Path, Measured] = field(default_factory=dict)

    def __call__(self, path: Path) -> Measured:
        """Every key figure of one evaluation, and its behaviour."""
        if path not in self._found:
            self._found[path] = self._measured(path)
        return self._found[path]

    def _measured(self, path: Path) -> Measured:
        samples = read_rows(path, columns=COLUMNS)
        if self.rejudge is not None:
            samples = self.rejudge(samples)
        known = pc.fill_null(samples["accuracy"], 0.0)  # as everywhere: what was not judged is not right
        samples = samples.set_column(samples.column_names.index("accuracy"), "accuracy", known)
        right = pc.greater(known, 0.5).to_numpy()
        behaviour = {
            "reflection": count_reflection(samples["response"], correct=right, rule=self.rule).ratios()["reflection_ratio"],
            "length": float(pc.mean(samples["response_length"]).as_py()),
            "accuracy": float(right.mean()),
        }
        values = tuple(self._value(kpi, samples=samples, path=path) for kpi in self.kpis)
        return Measured(values=values, behaviour=behaviour)

    @staticmethod
    def _value(kpi: Kpi, *, samples: pa.Table, path: Path) -> float:
        try:
            return float(kpi(samples))
        except Exception as error:  # a user's own code: whatever it raises, say where
            raise ReportError(
                f"evaluation.kpi: {kpi.name!r} failed on {path}: {type(error).__name__} {error}. Mend it, or leave it out."
            ) from error


def kpi_table(
    records: Records,
    *,
    kpis: Sequence[Kpi],
    endpoint: Endpoint,
    rule: ReflectionRule | None = None,
    rejudge: Rejudge | None = None,
    most_samples: int = MOST_SAMPLES,
) -> Table:
    """Each key figure under the endpoint's split and setting: Vanilla, arm at the picked epochs, difference, correlations."""
    reader = KpiReader(kpis=kpis, rule=rule or WholeWords(), rejudge=rejudge)
    num_samples = _num_tried(records, endpoint=endpoint)
    with_correlations = num_samples <= most_samples
    rows = [
        _kpi_row(place, arm=arm, endpoint=endpoint, reader=reader, with_correlations=with_correlations)
        for place in range(len(kpis))
        for arm in records.trained
        if before_and_at_pick(arm, endpoint=endpoint, split=endpoint.split, setting=endpoint.setting)
    ]
    left_out = say_named("kpi.correlations_left_out", num=num_samples, split=endpoint.picked_by)
    return table_of(
        "kpi",
        rows,
        of_examples=paragraph(*_example_notes(kpis)),
        left_out="" if with_correlations else left_out,
        **values_of(endpoint),
    )


def kpi_correlation_table(kpis: Table, *, records: Records, endpoint: Endpoint, most_samples: int = MOST_SAMPLES) -> Table:
    """What rises and falls with each key figure over the epochs, from the rows of `kpi_table`; none where it was left out."""
    known = ("kpi", "arm", "seeds", "with_accuracy", "with_length", "with_reflection")
    with_correlations = _num_tried(records, endpoint=endpoint) <= most_samples
    return table_of(
        "kpi_correlations",
        [{key: row[key] for key in known} for row in kpis.rows if with_correlations],
        of_correlations=say_named("kpi.correlations_shown", split=endpoint.picked_by),
        **values_of(endpoint),
    )


def _num_tried(records: Records, *, endpoint: Endpoint) -> int:
    """Stored samples whose texts would be read for correlations."""
    tried = [one for arm in records.trained for run in arm.used for one in _tried(run, endpoint)]
    return sum(int(evaluation.num_samples.sum()) for evaluation in tried)


def _example_notes(kpis: Sequence[Kpi]) -> Iterator[Phrase]:
    """What a reader must not believe of the two examples."""
    timed = [kpi for kpi in kpis if isinstance(kpi, MinutesSaved)]
    if timed:
        yield say("The minutes of “time saved” are invented examples until a team sets its own.")
    unchecked = [*(kpi for kpi in kpis if isinstance(kpi, UncheckedShare)), *(kpi.unchecked for kpi in timed)]
    if any(kpi.threshold is None for kpi in unchecked):
        yield say_named("kpi.agreement")


def _kpi_row(place: int, *, arm: Arm, endpoint: Endpoint, reader: KpiReader, with_correlations: bool) -> Row:
    kpi = reader.kpis[place]
    pairs = [
        (reader(before.path).values[place], reader(after.path).values[place])
        for before, after in before_and_at_pick(arm, endpoint=endpoint, split=endpoint.split, setting=endpoint.setting)
    ]
    curves = [[reader(one.path) for one in _tried(run, endpoint)] for run in arm.used] if with_correlations else []
    return {
        "kpi": known_word(kpi.name),
        "unit": known_word(kpi.unit),
        "better": say("higher") if kpi.higher_is_better else say("lower"),
        "arm": arm.label,
        "seeds": len(pairs),
        "vanilla": mean_interval([before for before, _ in pairs]),
        "picked": mean_interval([after for _, after in pairs]),
        "difference": mean_interval([after - before for before, after in pairs]),
        **{f"with_{name}": _correlation(curves, place=place, behaviour=name) for name in ("accuracy", "length", "reflection")},
    }


def _correlation(curves: Sequence[Sequence[Measured]], *, place: int, behaviour: str) -> Interval:
    pairs = [
        (np.array([one.values[place] for one in curve]), np.array([one.behaviour[behaviour] for one in curve]))
        for curve in curves
        if curve
    ]
    return correlation_within_seeds(pairs).interval


def _tried(run: RunRecords, endpoint: Endpoint) -> list[Evaluation]:
    """Epoch 0 is left out: arms share it."""
    return run.over_epochs(split=endpoint.picked_by, setting=endpoint.setting)
