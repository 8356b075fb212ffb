import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fake_runs import write_study
from hand_runs import BY_HAND, ENDPOINT, VANILLA, estimate, records_of, write_by_hand

from vlm_rl.evaluation.kpi import Kpi, MinutesSaved, UncheckedShare
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.tables.kpi_tables import kpi_table


def by_hand(study: Path, **written: Any) -> Records:
    """The same right answers on val, which picks, and on test, which is looked at."""
    for split in ("val", "test"):
        write_by_hand(study, split=split, **written)
    return records_of(study)


@dataclass(frozen=True, kw_only=True)
class RightAnswers:
    """How many samples are right, times a factor."""

    factor: float = 1.0

    name = "right answers"
    unit = "answers"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        return self.factor * float(pc.sum(records["accuracy"]).as_py())


class RightPerQuestion(RightAnswers):
    """Reads every row as Python would."""

    def __call__(self, records: pa.Table) -> float:
        return sum(accuracy > 0.5 for accuracy in records["accuracy"].to_pylist()) / records.num_rows


class Length(RightAnswers):
    """A team may call its figure as it likes."""

    name = "length"


class Broken:
    """A team's mistake."""

    name = "broken"
    unit = "none"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        raise KeyError("confidence")


def test_vanilla_picked_epoch_and_paired_difference_by_hand(tmp_path: Path) -> None:
    table = kpi_table(by_hand(tmp_path / "s", right=BY_HAND), kpis=[RightAnswers()], endpoint=ENDPOINT)
    (row,) = table.rows
    titles = {column.key: column.title for column in table.columns}
    assert titles["picked"] == "At the picked epoch"
    assert (row["kpi"], row["unit"], row["better"], row["arm"], row["seeds"]) == (
        "right answers",
        "answers",
        "higher",
        "grpo",
        3,
    )
    assert estimate(row["vanilla"]) == pytest.approx(4.0)  # 4, 5, 3
    assert estimate(row["picked"]) == pytest.approx(25 / 3)  # 8, 9, 8
    difference = row["difference"]
    assert isinstance(difference, Interval)
    assert difference.estimate == pytest.approx(13 / 3)  # 4, 4, 5
    assert difference.high - difference.estimate == pytest.approx(4.302652729911275 * math.sqrt(1 / 3) / math.sqrt(3))


def test_key_figures_of_one_name_or_named_as_behaviour_keep_their_own_numbers(tmp_path: Path) -> None:
    kpis = [RightAnswers(), RightAnswers(factor=-2.0), Length()]
    right, other, length = kpi_table(by_hand(tmp_path / "s", right=BY_HAND), kpis=kpis, endpoint=ENDPOINT).rows
    assert [estimate(row["picked"]) for row in (right, other, length)] == pytest.approx([25 / 3, -50 / 3, 25 / 3])
    assert math.isnan(estimate(right["with_length"]))  # the responses' length, which does not vary, and not the figure's
    assert estimate(other["with_accuracy"]) == pytest.approx(-0.75)


def test_a_response_that_was_not_judged_is_not_right(tmp_path: Path) -> None:
    records = by_hand(tmp_path / "s", right=BY_HAND)
    path = tmp_path / "s" / VANILLA / "seed-0" / "evaluations" / "epoch-0000" / "test_pass@1_t0.6.parquet"
    rows = pq.read_table(path)
    accuracy = pa.array([None, *rows["accuracy"].to_pylist()[1:]], pa.float32())
    pq.write_table(rows.set_column(rows.column_names.index("accuracy"), "accuracy", accuracy), path)
    (row,) = kpi_table(records, kpis=[RightPerQuestion()], endpoint=ENDPOINT).rows
    assert estimate(row["vanilla"]) == pytest.approx((0.3 + 0.5 + 0.3) / 3)  # one of four right answers of seed 0 is unknown


def test_what_goes_along_with_a_key_figure_over_the_epochs_of_each_seed(tmp_path: Path) -> None:
    study = by_hand(tmp_path / "s", right=BY_HAND)
    up, down = (kpi_table(study, kpis=[RightAnswers(factor=factor)], endpoint=ENDPOINT).rows[0] for factor in (1.0, -1.0))
    assert estimate(up["with_accuracy"]) == pytest.approx(0.75)  # rho 1 of three epochs counts as half-way to the next value
    assert estimate(down["with_accuracy"]) == pytest.approx(-0.75)
    length = up["with_length"]  # the fake lengths do not vary over epochs
    assert isinstance(length, Interval)
    assert (length.num_seeds, math.isnan(length.estimate)) == (0, True)


def test_too_many_samples_for_correlations_are_left_unread_and_said(tmp_path: Path) -> None:
    records = by_hand(tmp_path / "s", right=BY_HAND)
    table = kpi_table(records, kpis=[RightAnswers()], endpoint=ENDPOINT, most_samples=89)  # 3 seeds x 3 epochs x 10
    assert "left out: 90 stored samples on val are too many" in table.note
    (row,) = table.rows
    assert math.isnan(estimate(row["with_accuracy"]))
    assert estimate(row["picked"]) == pytest.approx(25 / 3)


def test_the_examples_run_over_whole_studies(tmp_path: Path) -> None:
    unchecked = UncheckedShare(confidence=0.9, threshold=0.75)
    kpis: list[Kpi] = [unchecked, MinutesSaved(unchecked=unchecked, by_hand=5.0, to_check=1.0, for_a_slip=30.0)]
    rows = kpi_table(records_of(write_study(tmp_path / "s", epochs=3)), kpis=kpis, endpoint=ENDPOINT).rows
    assert [(row["kpi"], row["arm"]) for row in rows] == [(kpi.name, arm) for kpi in kpis for arm in ("reinforce_pp", "sft")]
    assert all(isinstance(row[key], Phrase) for row in rows for key in ("kpi", "unit"))  # a page says them in its language
    assert all(0 <= estimate(row["picked"]) <= 1 for row in rows[:2])
    assert all(math.isfinite(estimate(row["difference"])) for row in rows)


def test_the_note_says_what_is_made_up_and_what_is_optimistic_only_of_the_examples_that_are(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 5}))
    found, fixed = (UncheckedShare(confidence=0.9, threshold=threshold) for threshold in (None, 0.75))
    saved = MinutesSaved(unchecked=found, by_hand=5.0, to_check=1.0, for_a_slip=30.0)
    for kpis, is_invented, is_optimistic in (
        ([RightAnswers()], False, False),
        ([fixed], False, False),
        ([found], False, True),
        ([replace(saved, unchecked=fixed)], True, False),
        ([saved], True, True),
    ):
        note = kpi_table(records, kpis=kpis, endpoint=ENDPOINT).note
        assert ("invented" in note, "optimistic" in note) == (is_invented, is_optimistic)


def test_a_key_figure_that_fails_says_which_and_where(tmp_path: Path) -> None:
    records = by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 5})
    with pytest.raises(ReportError, match=r"evaluation.kpi: 'broken' failed on .*parquet: KeyError 'confidence'"):
        kpi_table(records, kpis=[Broken()], endpoint=ENDPOINT)


def test_without_key_figures_or_an_untrained_model_there_is_no_row(tmp_path: Path) -> None:
    records = by_hand(tmp_path / "s", right={("grpo", 0, 1): 5}, vanilla=None)
    assert kpi_table(records, kpis=[RightAnswers()], endpoint=ENDPOINT).rows == ()
    assert kpi_table(records, kpis=[], endpoint=ENDPOINT).rows == ()
