"""How cells of a table read on the page, in Markdown and in LaTeX."""

from dataclasses import replace

import pytest
from case_files import cases

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.export import escape_latex, escape_markdown, latex, markdown
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.tables.table import Cell, Column, Shown, Table, table_of

HOSTILE = "50 % of_{x} & #1 $a^2$ \\input{x} ~ \u202eabc\u202c \u0000<b>|\n`c` *d* [e]"
TABLE = Table(
    name="by_kind",
    title=say("Accuracy (%)"),
    note="A & B",
    columns=(Column(key="kind", title=say("Kind"), how="text"), Column(key="share", title=say("Share"), how="percent")),
    rows=({"kind": HOSTILE, "share": Interval(estimate=0.5, low=0.4, high=0.6, num_seeds=3)}, {"kind": "", "share": None}),
)


@pytest.mark.parametrize(("written", "escaped"), cases("export", "latex"))
def test_what_latex_gives_a_meaning_is_spelled_out(written: str, escaped: str) -> None:
    assert escape_latex(written) == escaped


@pytest.mark.parametrize(("written", "escaped"), cases("export", "markdown"))
def test_nothing_in_a_markdown_cell_is_markup(written: str, escaped: str) -> None:
    assert escape_markdown(written) == escaped


def test_a_table_keeps_its_rows_and_columns_in_latex_and_in_the_language_of_the_page_in_markdown() -> None:
    lines = latex(TABLE).splitlines()
    assert lines[lines.index(r"    \midrule") + 1 : lines.index(r"    \bottomrule")] == [
        f"    {escape_latex(HOSTILE)} & 50.0 {{[}}40.0, 60.0] \\\\",
        r"    -- & -- \\",
    ]
    assert r"\begin{tabular}{lr}" in lines[4] and r"  \caption{Accuracy (\%). A \& B}" in lines
    japanese = {"Accuracy (%)": "正解率（%）", "Kind": "種類", "Share": "割合"}
    title, _, *lines = markdown(TABLE, catalogue=japanese).splitlines()
    assert [title, *lines[:2]] == ["### 正解率（%）", "| 種類 | 割合 |", "| --- | ---: |"]
    assert lines[2:4] == [rf"| {escape_markdown(HOSTILE)} | 50.0 \[40.0, 60.0\] |", "| – | – |"]


def test_what_stands_beside_a_value_is_translated_too_and_a_cell_is_no_place_for_a_response() -> None:
    share = Interval(estimate=0.6, low=0.6, high=0.6, num_seeds=3)
    table = replace(TABLE, rows=({"kind": "x" * 201, "share": share},))
    same = {"(same for all seeds)": "（全シードで同じ）"}
    assert f"| {'x' * 200}… | 60.0 （全シードで同じ） |" in markdown(table, catalogue=same)
    assert rf" {'x' * 200}\ldots{{}} & 60.0 (same for all seeds) \\" in latex(table)


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


def test_columns_and_rows_that_code_adds_or_leaves_out_stand_where_they_should() -> None:
    more = Column(key="more", title="M", how="text")
    table = table_of("gain", [{"arm": "a"}], more=[more], without=["this_run_only"], picked_by="val")
    assert [one.key for one in table.columns] == ["arm", "split", "setting", "seeds", "epochs", "gain", "new_questions", "more"]
    assert table.rows == ({"arm": "a"},)
    assert table.note.startswith(
        "Secondary: what the study is judged by stands under the verdicts. Each seed at the epoch that val picked"
    )
