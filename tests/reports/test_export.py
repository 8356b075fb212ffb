from dataclasses import replace

import pytest

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


@pytest.mark.parametrize(
    ("written", "escaped"),
    [
        ("50 %", r"50 \%"),
        ("a_b", r"a\_b"),
        ("A & B # C", r"A \& B \# C"),
        ("$x$", r"\$x\$"),
        ("\\frac{1}{2}", r"\textbackslash{}frac\{1\}\{2\}"),
        ("x^2 ~ y", r"x\textasciicircum{}2 \textasciitilde{} y"),
        ("[1.0, 2.0]", "{[}1.0, 2.0]"),
        ("\u202eright\u202c to \u200fleft", "right to left"),
        ("nul\u0000 and\u001b[0m", "nul and{[}0m"),
        ("±2 δ –", r"$\pm$2 $\delta$ --"),
        ("角度", "??"),
        ("two\nlines", "two lines"),
    ],
)
def test_what_latex_gives_a_meaning_is_spelled_out(written: str, escaped: str) -> None:
    assert escape_latex(written) == escaped


@pytest.mark.parametrize(
    ("written", "escaped"), [("a|b", r"a\|b"), ("<b>", r"\<b\>"), ("a\nb", "a b"), ("`x` *y* _z_", r"\`x\` \*y\* \_z\_")]
)
def test_nothing_in_a_markdown_cell_is_markup(written: str, escaped: str) -> None:
    assert escape_markdown(written) == escaped


def test_a_latex_table_has_a_line_for_each_row_and_a_cell_for_each_column() -> None:
    lines = latex(TABLE).splitlines()
    body = lines[lines.index(r"    \midrule") + 1 : lines.index(r"    \bottomrule")]
    assert body[1] == r"    -- & -- \\"
    assert body[0].endswith(r" & 50.0 {[}40.0, 60.0] \\")
    assert body[0].replace(r"\&", "").count("&") == 1
    assert r"\begin{tabular}{lr}" in lines[5 - 1]
    assert r"  \caption{Accuracy (\%). A \& B}" in lines


def test_a_markdown_table_keeps_its_columns_and_speaks_the_language_of_the_page() -> None:
    lines = markdown(TABLE, catalogue={"Accuracy (%)": "正解率（%）", "Kind": "種類", "Share": "割合"}).splitlines()
    assert lines[0] == "### 正解率（%）"
    assert lines[2:4] == ["| 種類 | 割合 |", "| --- | ---: |"]
    assert all(line.replace(r"\|", "").count("|") == 3 for line in lines[2:6])
    assert lines[4].endswith(r"| 50.0 \[40.0, 60.0\] |")


def test_what_stands_beside_a_value_is_translated_too() -> None:
    share = Interval(estimate=0.6, low=0.6, high=0.6, num_seeds=3)
    table = replace(TABLE, columns=TABLE.columns[1:], rows=({"share": share},))
    assert "| 60.0 （全シードで同じ） |" in markdown(table, catalogue={"(same for all seeds)": "（全シードで同じ）"})
    assert r"60.0 (same for all seeds) \\" in latex(table)


def test_a_cell_is_no_place_for_a_response() -> None:
    table = replace(TABLE, columns=TABLE.columns[:1], rows=({"kind": "x" * 201},))
    assert f"\n| {'x' * 200}… |\n" in markdown(table, catalogue={})
    assert rf" {'x' * 200}\ldots{{}} \\" in latex(table)
