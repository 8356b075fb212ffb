"""Key figures of a team against numbers by hand."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fake_runs import write_rows
from hand_runs import BY_HAND, ENDPOINT, cells_of, ends, estimate, estimates, records_of, write_by_hand

from vlm_rl.evaluation.kpi import Kpi, MinutesSaved, UncheckedShare
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.composition import Content
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.tables.kpi_tables import kpi_tables
from vlm_rl.reports.tables.table import Row


@dataclass(frozen=True, kw_only=True)
class RightAnswers:
    """How many samples are right, times a factor; fails as a team's own code may where the factor is 0."""

    factor: float = 1.0
    name: str = "right answers"

    unit = "answers"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        if self.factor == 0:
            raise KeyError("confidence")
        return self.factor * float(pc.sum(records["accuracy"]).as_py())


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """The same right answers on val, which picks, and on test, which is looked at."""
    for split in ("val", "test"):
        write_by_hand(tmp_path / "s", right=BY_HAND, split=split)
    return records_of(tmp_path / "s")


def rows_of(records: Records, *kpis: Kpi, **options: Any) -> tuple[Row, ...]:
    return kpi_tables(records, kpis=kpis, endpoint=ENDPOINT, **options)[0].rows


def test_vanilla_selected_epoch_and_paired_difference_by_hand(records: Records) -> None:
    (row,) = rows_of(records, RightAnswers())
    assert cells_of(row, "kpi", "unit", "better", "arm", "seeds") == ("right answers", "answers", "higher", "grpo", 3)
    assert estimates(row, "vanilla", "picked") == pytest.approx([4.0, 25 / 3])  # of 4, 5, 3 and of 8, 9, 8
    half = 4.302652729911275 * math.sqrt(1 / 3) / math.sqrt(3)  # of 4, 4, 5
    assert ends(row["difference"]) == pytest.approx((13 / 3, 13 / 3 - half, 13 / 3 + half))


def test_key_figures_of_one_name_or_named_as_behaviour_keep_their_own_numbers(records: Records) -> None:
    """rho 1 of three epochs: half-way to the next value. The length is that of the responses, which does not vary."""
    rows = rows_of(records, RightAnswers(), RightAnswers(factor=-2.0), RightAnswers(name="length"))
    found = [estimates(row, "picked", "with_accuracy") for row in rows]
    assert found == [pytest.approx(numbers) for numbers in ([25 / 3, 0.75], [-50 / 3, -0.75], [25 / 3, 0.75])]
    assert [str(row["with_length"]) for row in rows] == [str(mean_interval([]))] * 3


def test_a_response_that_was_not_judged_is_not_right(records: Records) -> None:
    path = records.arms[0].runs[0].evaluations[0, "test", ENDPOINT.setting].path
    first, *others = pq.read_table(path).to_pylist()
    write_rows(path, rows=[first | {"accuracy": None}, *others])
    (row,) = rows_of(records, RightAnswers())
    assert estimate(row["vanilla"]) == pytest.approx((3 + 5 + 3) / 3)  # one of four right answers of seed 0 is unknown


def test_too_many_samples_for_correlations_are_left_unread_and_said(records: Records) -> None:
    for most, is_left_out in ((89, True), (90, False)):  # 3 seeds x 3 epochs x 10
        table, correlations = kpi_tables(records, kpis=[RightAnswers()], endpoint=ENDPOINT, most_samples=most)
        assert ("left out: 90 stored samples on val are too many" in table.note) is is_left_out
        found = estimates(table.rows[0], "picked", "with_accuracy")
        assert found == pytest.approx([25 / 3, math.nan if is_left_out else 0.75], nan_ok=True)
        keys = [column.key for column in correlations.columns]
        assert str(list(correlations.rows)) == str([] if is_left_out else [{key: table.rows[0][key] for key in keys}])


def test_the_examples_run_over_whole_studies_and_their_correlations_stand_in_the_appendix(fake_content: Content) -> None:
    key_figures, *_, appendix = fake_content.sections[3:]
    expected = ["seed_sensitivity_of_length", "aggregates", "bottleneck", "behaviour_correlations", "kpi_correlations"]
    assert (appendix.title, [table.name for table in appendix.tables]) == ("Appendix", expected)
    rows = key_figures.tables[0].rows
    names = ("answers that need no check", "time saved")
    assert [(row["kpi"], row["arm"]) for row in rows] == [(name, arm) for name in names for arm in ("reinforce_pp", "sft")]
    assert all(isinstance(row[key], Phrase) for row in rows for key in ("kpi", "unit"))  # a page says them in its language
    assert all(0 <= estimate(row["picked"]) <= 1 for row in rows[:2])
    assert all(math.isfinite(estimate(row["difference"])) for row in rows)


def test_the_note_says_what_is_made_up_and_what_is_optimistic_only_of_the_examples_that_are(records: Records) -> None:
    found, fixed = (UncheckedShare(confidence=0.9, threshold=threshold) for threshold in (None, 0.75))
    saved = MinutesSaved(unchecked=found, by_hand=5.0, to_check=1.0, for_a_slip=30.0)
    kpis = (RightAnswers(), fixed, found, replace(saved, unchecked=fixed), saved)
    notes = [kpi_tables(records, kpis=[kpi], endpoint=ENDPOINT)[0].note for kpi in kpis]
    assert ["invented" in note for note in notes] == [False, False, False, True, True]
    assert ["optimistic" in note for note in notes] == [False, False, True, False, True]


def test_a_key_figure_that_fails_says_which_and_where(records: Records) -> None:
    with pytest.raises(ReportError, match=r"evaluation.kpi: 'broken' failed on .*parquet: KeyError 'confidence'"):
        rows_of(records, RightAnswers(factor=0, name="broken"))


def test_without_key_figures_or_a_vanilla_model_there_is_no_row(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 5}, split="test", vanilla=None))
    assert rows_of(records, RightAnswers()) == rows_of(records) == ()
