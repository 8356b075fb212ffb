"""How cells of a table read on the page."""

import math

import pytest

from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.tables.table import Cell, Column, Shown, table_of


def shown(cell: Cell, *, how: str) -> Shown:
    return Column(key="x", title="", how=how).show(cell)


def interval(estimate: float, *, low: float, high: float, seeds: int = 3) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, num_seeds=seeds)


@pytest.mark.parametrize(
    ("how", "cell", "text"),
    [
        ("text", 0.25, "0.25"),
        ("text", "", "–"),
        ("text", None, "–"),
        ("text", math.nan, "–"),
        ("number", 0.25, "0"),
        ("number {:.2f}", 0.25, "0.25"),
        ("number", "many", "–"),
        ("number", None, "–"),
        ("percent", 0.25, "25.0"),
        ("percent", math.nan, "–"),
        ("points", 0.25, "+25.0"),
        ("share", -0.25, "-25.0"),
        ("share {:.3f}", 0.00125, "0.125"),
        ("gib", 3 * 2**29, "1.50"),
        ("setting", "pass@8_t1.0", "pass@8, T = 1.0"),
        ("p", 0.0123, "0.012"),
        ("p", 0.001, "0.001"),
        ("p", 0.0009999, "< 0.001"),
        ("p", math.nan, "–"),
        *(("points", share, "+19.9") for share in (0.1985, 0.1985 - 3e-17, 0.1985 + 3e-17, 0.9 - 0.7015)),  # one number
        ("percent", -0.0001, "0.0"),  # nothing is never negative
        ("points", -0.0001, "+0.0"),
        ("number", -0.2, "0"),
        ("number {:.2g}", -1e-20, "-1e-20"),  # so small a number is still one
    ],
)
def test_a_value_is_written_as_its_column_declares(how: str, cell: Cell, text: str) -> None:
    assert shown(cell, how=how) == Shown(text=text)


@pytest.mark.parametrize(
    ("how", "cell", "expected"),
    [
        ("percent", interval(0.9, low=-0.02, high=1.005), ("90.0", "[0.0, 100.0]")),  # no share lies beyond
        ("share", interval(0.9, low=-0.02, high=1.005), ("90.0", "[-2.0, 100.5]")),
        ("points", interval(0.9, low=-0.02, high=1.005), ("+90.0", "[-2.0, +100.5]")),
        ("points", interval(0.0, low=-0.0001, high=0.001), ("+0.0", "[+0.0, +0.1]")),
        ("points", interval(0.6, low=0.6, high=0.6, seeds=1), ("+60.0", "[+60.0, +60.0]")),
        ("percent", mean_interval([0.6, 0.6, 0.6]), ("60.0", "(same for all seeds)")),
        ("percent", mean_interval([1.0, 1.0]), ("100.0", "(same for all seeds)")),
        ("percent", mean_interval([0.6]), ("60.0", "")),
        ("percent", mean_interval([math.nan]), ("–", "")),
    ],
)
def test_an_interval_stands_beside_its_estimate(how: str, cell: Interval, expected: tuple[str, str]) -> None:
    written = shown(cell, how=how)
    assert (written.text, written.detail) == expected
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
