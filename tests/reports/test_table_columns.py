"""How cells of a table read on the page."""

import pytest
from case_files import cases

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.tables.table import Cell, Column, Shown, table_of


def shown(cell: Cell, *, how: str) -> Shown:
    return Column(key="x", title="", how=how).show(cell)


@pytest.mark.parametrize(
    ("how", "cell", "text"), [*cases("table_columns", "values"), ("text", None, "–"), ("number", None, "–")]
)
def test_a_value_is_written_as_its_column_declares(how: str, cell: Cell, text: str) -> None:
    assert shown(cell, how=how) == Shown(text=text)


@pytest.mark.parametrize(("how", "numbers", "expected"), cases("table_columns", "intervals"))
def test_an_interval_stands_beside_its_estimate(how: str, numbers: list[float], expected: list[str]) -> None:
    estimate, low, high, seeds = numbers
    written = shown(Interval(estimate=estimate, low=low, high=high, num_seeds=int(seeds)), how=how)
    assert [written.text, written.detail] == expected
    assert isinstance(written.detail, Phrase) == (written.detail == "(same for all seeds)")


def test_only_columns_of_words_are_aligned_left() -> None:
    kinds = ("text", "setting", "p", "number {:.2f}", "percent")
    assert [Column(key="x", title="", how=how).is_text for how in kinds] == [True, True, False, False, False]


def test_columns_and_rows_that_code_adds_or_leaves_out_stand_where_they_should() -> None:
    more = Column(key="more", title="M", how="text")
    table = table_of("gain", [{"arm": "a"}], more=[more], without=["this_run_only"])
    assert [one.key for one in table.columns] == ["arm", "split", "setting", "seeds", "epoch", "gain", "new_questions", "more"]
    assert table.rows == ({"arm": "a"},)
    assert table.note.startswith("Secondary: what the study is judged by stands under the verdicts. Paired by seed")
