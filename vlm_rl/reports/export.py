"""A table for other people's documents: Markdown and LaTeX (booktabs). Whatever stands in a cell stays text there."""

import re
import unicodedata

from vlm_rl.reports.phrase import Catalogue, in_language
from vlm_rl.reports.tables.table import MISSING, Shown, Table, cells

LONGEST_CELL = 200  # characters; a cell is no place for a response
LONGEST_TEXT = 5000  # of a note
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    MISSING: "--",
    "—": "---",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "δ": r"$\delta$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "`": r"\textasciigrave{}",  # ?` would be an upside-down question mark
    "“": "``",
    "”": "''",
    "’": "'",
}
LIGATURES = "-,'"  # two of them would be one other sign
LAST_LATIN = 0x17F  # pdfLaTeX with T1 fonts has no letters beyond
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~]|&(?=#?\w+;)|:(?=//)|(?<=\bwww)\.)", re.IGNORECASE)
LINE_START = re.compile(r"^(\d*)([-+=]|(?<=\d)[.)])")


def markdown(table: Table, *, catalogue: Catalogue) -> str:
    """A GitHub table under its title, in the language of the page."""

    def line(parts: list[str]) -> str:
        return f"| {' | '.join(parts)} |"

    def words(text: str) -> str:
        return escape_markdown(in_language(text, catalogue=catalogue))

    lines = [
        f"### {words(table.title)}",
        "",
        line([words(column.title) for column in table.columns]),
        line(["---" if column.is_text else "---:" for column in table.columns]),
        *(
            line([escape_markdown(_joined(shown, catalogue=catalogue)) for _, shown in cells(table, row=row)])
            for row in table.rows
        ),
        "",
        escape_line(in_language(table.note, catalogue=catalogue)),
        "",
    ]
    return "\n".join(lines)


def latex(table: Table) -> str:
    r"""A `table` with a `tabular` of booktabs' rules, in English: pdfLaTeX has no other letters. Needs \usepackage{booktabs}."""
    columns = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}. {escape_latex(table.note)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', table.name)}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {' & '.join(escape_latex(column.title) for column in table.columns)} \\\\",
        r"    \midrule",
        *(
            f"    {' & '.join(escape_latex(_joined(shown, catalogue={})) for _, shown in cells(table, row=row))} \\\\"
            for row in table.rows
        ),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def escape_latex(text: str) -> str:
    """Characters that LaTeX gives a meaning are spelled out, those it has no letter for are `?`; a [ after a line break is no option."""
    line = plain(text)
    pairs = zip(line, line[1:] + " ", strict=False)
    known = {sign: sign if ord(sign) <= LAST_LATIN else "?" for sign in line} | LATEX_ESCAPES
    written = (known[sign] + "{}" * (sign == after and sign in LIGATURES) for sign, after in pairs)
    return "".join(written).replace("[", "{[}")


def escape_markdown(text: str) -> str:
    """Nothing in a cell is markup, and no cell ends its row."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", plain(text))


def escape_line(text: str) -> str:
    """The same for a text that begins a line, where it is no list and no rule either."""
    return LINE_START.sub(r"\1\\\2", escape_markdown(text))


def plain(text: str) -> str:
    """One line without control, direction and unassigned characters."""
    spaced = (" " if character.isspace() else character for character in text[:LONGEST_TEXT])
    return " ".join("".join(character for character in spaced if unicodedata.category(character)[0] != "C").split())


def _joined(shown: Shown, *, catalogue: Catalogue) -> str:
    text = " ".join(in_language(part, catalogue=catalogue) for part in (shown.text, shown.detail) if part)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"
