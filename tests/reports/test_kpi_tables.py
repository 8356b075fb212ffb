import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fake_runs import write_study
from hand_runs import BY_HAND, VANILLA, estimate, records_of, write_by_hand

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.kpi import Kpi, MinutesSaved, UncheckedShare
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.tables.kpi_tables import kpi_table

ON_VAL = Endpoint(split="val", setting="pass@1_t0.6", picked_by="val")


@dataclass(frozen=True, kw_only=True)
class RightAnswers:
    """How many samples are right, times a factor."""

    factor: float = 1.0

    name = "right answers"
    unit = "answers"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        return self.factor * float(pc.sum(records["accuracy"]).as_py())


class Broken:
    """A team's mistake."""

    name = "broken"
    unit = "none"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        raise KeyError("confidence")


def test_vanilla_picked_epoch_and_paired_difference_by_hand(tmp_path: Path) -> None:
    table = kpi_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), kpis=[RightAnswers()], endpoint=ON_VAL)
    (row,) = table.rows
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


def test_what_goes_along_with_a_key_figure_over_the_epochs_of_each_seed(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    up, down = (
        kpi_table(records_of(study), kpis=[RightAnswers(factor=factor)], endpoint=ON_VAL).rows[0] for factor in (1.0, -1.0)
    )
    assert estimate(up["with_accuracy"]) == pytest.approx(0.75)  # rho 1 of three epochs counts as half-way to the next value
    assert estimate(down["with_accuracy"]) == pytest.approx(-0.75)
    length = up["with_length"]  # the fake lengths do not vary over epochs
    assert isinstance(length, Interval)
    assert (length.num_seeds, math.isnan(length.estimate)) == (0, True)


def test_too_many_samples_for_correlations_are_left_unread_and_said(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right=BY_HAND))
    table = kpi_table(records, kpis=[RightAnswers()], endpoint=ON_VAL, most_samples=89)  # 3 seeds x 3 epochs x 10
    assert "left out: 90 stored samples on val are too many" in table.note
    (row,) = table.rows
    assert math.isnan(estimate(row["with_accuracy"]))
    assert estimate(row["picked"]) == pytest.approx(25 / 3)


def test_the_examples_run_over_whole_studies(tmp_path: Path) -> None:
    unchecked = UncheckedShare(confidence=0.9, threshold=0.75)
    kpis: list[Kpi] = [unchecked, MinutesSaved(unchecked=unchecked, by_hand=5.0, to_check=1.0, for_a_slip=30.0)]
    endpoint = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
    rows = kpi_table(records_of(write_study(tmp_path / "s", epochs=3)), kpis=kpis, endpoint=endpoint).rows
    assert [(row["kpi"], row["arm"]) for row in rows] == [(kpi.name, arm) for kpi in kpis for arm in ("reinforce_pp", "sft")]
    assert all(0 <= estimate(row["picked"]) <= 1 for row in rows[:2])
    assert all(math.isfinite(estimate(row["difference"])) for row in rows)


def test_a_key_figure_that_fails_says_which_and_where(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 5}))
    with pytest.raises(ReportError, match=r"evaluation.kpi: 'broken' failed on .*parquet: KeyError 'confidence'"):
        kpi_table(records, kpis=[Broken()], endpoint=ON_VAL)


def test_without_key_figures_or_an_untrained_model_there_is_no_row(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 5}, vanilla=None))
    assert kpi_table(records, kpis=[RightAnswers()], endpoint=ON_VAL).rows == ()
    assert kpi_table(records, kpis=[], endpoint=ON_VAL).rows == ()
