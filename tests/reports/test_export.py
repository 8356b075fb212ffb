from dataclasses import replace

import pytest
from case_files import cases

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.export import escape_latex, escape_markdown, latex, markdown
from vlm_rl.reports.phrase import say
from vlm_rl.reports.tables.table import Column, Table

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


def test_a_latex_table_has_a_line_for_each_row_and_a_cell_for_each_column() -> None:
    lines = latex(TABLE).splitlines()
    first, second = lines[lines.index(r"    \midrule") + 1 : lines.index(r"    \bottomrule")]
    assert first == f"    {escape_latex(HOSTILE)} & 50.0 {{[}}40.0, 60.0] \\\\"
    assert second == r"    -- & -- \\"
    assert r"\begin{tabular}{lr}" in lines[4]
    assert r"  \caption{Accuracy (\%). A \& B}" in lines


def test_a_markdown_table_keeps_its_columns_and_speaks_the_language_of_the_page() -> None:
    lines = markdown(TABLE, catalogue={"Accuracy (%)": "正解率（%）", "Kind": "種類", "Share": "割合"}).splitlines()
    assert [lines[0], *lines[2:4]] == ["### 正解率（%）", "| 種類 | 割合 |", "| --- | ---: |"]
    assert lines[4:6] == [rf"| {escape_markdown(HOSTILE)} | 50.0 \[40.0, 60.0\] |", "| – | – |"]


def test_what_stands_beside_a_value_is_translated_too_and_a_cell_is_no_place_for_a_response() -> None:
    share = Interval(estimate=0.6, low=0.6, high=0.6, num_seeds=3)
    table = replace(TABLE, rows=({"kind": "x" * 201, "share": share},))
    assert f"| {'x' * 200}… | 60.0 （全シードで同じ） |" in markdown(
        table, catalogue={"(same for all seeds)": "（全シードで同じ）"}
    )
    assert rf" {'x' * 200}\ldots{{}} & 60.0 (same for all seeds) \\" in latex(table)
