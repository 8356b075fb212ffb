"""The report as one HTML file that needs no network. Autoescape is on: nothing a model wrote is ever markup."""

import jinja2
from markupsafe import Markup

from vlm_rl.reports.content import Content
from vlm_rl.reports.figures import MARKERS, PALETTE, legend_label, legend_lines, panel_svg
from vlm_rl.reports.table import cells

MARKER_GLYPHS = dict(zip(MARKERS, "●■▲◆▼✚", strict=True))


def render_html(content: Content) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlm_rl.reports", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "cells": cells,
        "legend_label": legend_label,
        "legend_lines": legend_lines,
        "panel_svg": lambda panel: Markup(panel_svg(panel)),  # ours; matplotlib escapes the labels in it
        "glyph": lambda line: MARKER_GLYPHS[MARKERS[line.color % len(MARKERS)]],
        "num_colors": len(PALETTE),
    }
    return environment.get_template("report.html.j2").render(content=content)
