"""The report as one HTML file that needs no network. Autoescape is on: nothing a model wrote is ever markup.

The one script that may run is ours, page.js and reader.js together, allowed by its hash; what it shows comes from a data block
or attributes and goes through textContent. Words are translated where they are put out, by jinja2's `finalize`.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vlm_rl.reports.composition import Content
from vlm_rl.reports.figures.drawing import legend_label, legend_lines, panel_svg
from vlm_rl.reports.figures.panels import DARK_PALETTE, PALETTE, glyph_of, variable_of
from vlm_rl.reports.page.labels import forest_label, panel_label
from vlm_rl.reports.page.reader import page_data, script_json, visible
from vlm_rl.reports.phrase import Phrase, catalogue_of, in_language, say, with_minus
from vlm_rl.reports.tables.table import MISSING, Column, Row, Shown, Table, cells

MOST_CARDS = 8  # on the first page; the verdicts on more arms are rows of a table
MOST_PRINTED = 60  # rows of a table on paper; print.css counts them too
TIED = re.compile(r"\b[Tpn] [=<] \d|\d (?:%|[個問回件枚分]|ポイント)")  # T = 0.6, p < 0.001, 95 %, 3 個: on one line


def render_html(content: Content, *, language: str) -> str:
    """The whole page in one language."""
    catalogue = catalogue_of(language)
    script, reader = _file("page.js"), page_data(content.reader, catalogue=catalogue)
    if reader["cases"]:
        script += _file("reader.js")
    environment = _environment(translate=partial(in_language, catalogue=catalogue))
    environment.globals["cells"] = _cells_with_minus if catalogue else cells
    page = environment.get_template("page.html.j2")
    return page.render(
        content=content,
        language=language,
        css=Markup(_file("page.css") + _file("print.css")),
        script=Markup(script),
        script_source=Markup(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"),
        reader=reader,
        reader_json=Markup(script_json(reader)),
    )


def _environment(*, translate: Callable[[str], str]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlm_rl.reports", package_path="page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=partial(_finalized, translate=translate),
    )
    environment.globals |= {
        "say": say,
        "legend_label": legend_label,
        "legend_lines": legend_lines,
        "missing": MISSING,
        "most_cards": MOST_CARDS,
        "most_printed": MOST_PRINTED,
        "panel_label": panel_label,
        "forest_label": forest_label,
        "panel_svg": lambda panel, name: Markup(panel_svg(panel, name=name, translate=translate)),  # matplotlib escapes labels
        "glyph_of": glyph_of,
        "variable_of": variable_of,
        "palettes": {"light": PALETTE, "dark": DARK_PALETTE},
    }
    return environment


def _cells_with_minus(table: Table, *, row: Row) -> Iterator[tuple[Column, Shown]]:
    """The cells of a row, numbers with a true minus; what models wrote is no number of a table."""
    for column, shown in cells(table, row=row):
        text, detail = (part if isinstance(part, Phrase) else with_minus(part) for part in (shown.text, shown.detail))
        yield column, shown if column.is_text else Shown(text=text, detail=detail)


def _finalized(value: Any, *, translate: Callable[[str], str]) -> Any:
    """A text in the page's language, with control characters made visible; markup of our own and numbers as they are."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return TIED.sub(lambda found: found[0].replace(" ", "\u00a0"), visible(translate(value)))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
