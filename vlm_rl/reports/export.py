"""A table for other people's documents: Markdown and LaTeX (booktabs). Whatever stands in a cell stays text there."""

import re
import tomllib
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jinja2

from vlm_rl.reports.memory import recall
from vlm_rl.reports.phrase import Catalogue, in_language
from vlm_rl.reports.tables.table import Table, cells

PAGE = Path(__file__).with_name("page")
LONGEST_CELL = 200  # characters; a cell is no place for a response
LONGEST_TEXT = 5000  # of a note
SIGNS = tomllib.loads((PAGE / "latex.toml").read_text(encoding="utf-8"))
LATEX_SPECIAL = re.compile(
    rf"(?P<half>[-,'])(?=(?P=half))|[{re.escape(''.join(SIGNS))}]|[^\x00-\u017f]"  # two of the first would be one other sign
)
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~]|&(?=#?\w+;)|:(?=//)|(?<=\bwww)\.)", re.IGNORECASE)
LINE_START = re.compile(r"^(\d*)([-+=]|(?<=\d)[.)])")
# What these are filled with is escaped before.
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGE), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)


def markdown(table: Table, *, catalogue: Catalogue) -> str:
    """A GitHub table under its title, in the language of the page."""
    note = escape_line(in_language(table.note, catalogue=catalogue))
    made = partial(_filled, "table.md.j2", table, note=note, escape=escape_markdown, catalogue=catalogue)
    return recall("markdown", table, note, make=made)


def latex(table: Table) -> str:
    r"""A `table` with a `tabular` of booktabs' rules, in English: pdfLaTeX has no other letters. Needs \usepackage{booktabs}."""
    made = partial(_filled, "table.tex.j2", table, note=escape_latex(table.note), escape=escape_latex, catalogue={})
    return recall("latex", table, make=made)


def _filled(template: str, table: Table, *, note: str, escape: Callable[[str], str], catalogue: Catalogue) -> str:
    def words(*parts: str) -> str:
        return " ".join(in_language(part, catalogue=catalogue) for part in parts if part)

    def cell(text: str) -> str:
        return escape(text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…")

    return TEMPLATES.get_template(template).render(
        label=re.sub(r"[^A-Za-z0-9-]+", "-", table.name),
        title=escape(words(table.title)),
        note=note,
        columns=table.columns,
        headings=[escape(words(column.title)) for column in table.columns],
        rows=[[cell(words(shown.text, shown.detail)) for _, shown in cells(table, row=row)] for row in table.rows],
    )


def escape_latex(text: str) -> str:
    """Characters that LaTeX gives a meaning are spelled out (page/latex.toml), those it has no letter for are `?`."""
    return LATEX_SPECIAL.sub(lambda found: f"{found['half']}{{}}" if found["half"] else SIGNS.get(found[0], "?"), plain(text))


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
