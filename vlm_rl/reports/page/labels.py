"""What a screen reader says of a picture: what is drawn, and its last or its only numbers."""

import numpy as np

from vlm_rl.reports.figures.panels import Line, Panel
from vlm_rl.reports.first_page.forest import Forest
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say


def panel_label(panel: Panel) -> Phrase:
    """`Response length: tokens by generation steps. Last values: grpo 61.2, sft 48.`, in the units of the axis."""
    what = say("{title}: {y} by {x}", title=panel.title, y=panel.y_label, x=panel.x_label)
    lasts = [_last(line, scale=panel.scale) for line in panel.in_front]
    vanilla = [] if panel.baseline is None else [say("Vanilla {value:,.4g}", value=panel.scale * panel.baseline)]
    return say("{what}. Last values: {values}.", what=what, values=listed([*lasts, *vanilla]))


def _last(line: Line, *, scale: float) -> Phrase:
    """The mean over seeds at the last x where there is one."""
    known = line.mean()[~np.isnan(line.mean())]
    if not known.size:
        return say("{arm}: no value", arm=line.label)
    return say("{arm} {value:,.4g}", arm=line.label, value=float(scale * known[-1]))


def forest_label(forest: Forest) -> Phrase:
    """Title, then effect, 95 % interval and number of seeds of each arm."""
    rows = (say("{arm}: {effect}, {interval}.", arm=row.label, effect=row.text, interval=row.detail) for row in forest.rows)
    return paragraph(say("{title}.", title=forest.title), *rows)
