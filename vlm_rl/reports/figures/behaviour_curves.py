"""Behaviour as pictures: Figs. 6 to 8 of the paper, response lengths, and how far the policy moved."""

from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.reflection import REFLECTION_RATIOS
from vlm_rl.reports.figures.curves import (
    occurs,
    ratio_panel,
    step_panel,
    step_panels,
    word_keys,
    word_of,
    word_panel,
)
from vlm_rl.reports.figures.panels import Figure, FloatArray, Panel, figure_of
from vlm_rl.reports.phrase import paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records

USUAL_SHARE = 0.98  # of all values of all runs
SPIKE = 3.0  # times as far from the lowest value as the usual ones: beyond, a picture shows the spike and nothing else
AXIS_MARGIN = 0.1  # of the height of the usual values


def reflection_figure(records: Records) -> Figure:
    """Fig. 6 of the paper: all five ratios together with the response length."""
    length = step_panel(records, key="response_length/mean", title=say("Response length"), y=say("tokens, EOS included"))
    ratios = [ratio_panel(records, ratio=ratio) for ratio in REFLECTION_RATIOS]
    panels = [length, *ratios] if any(panel.lines for panel in ratios) else []
    return figure_of("figure_6_reflection_ratios", panels, num_columns=3)


def words_figure(records: Records) -> Figure:
    """Figs. 7 and 8 of the paper: every reflection word, those that never occur in one sentence."""
    keys = word_keys(records)
    silent = [f"“{word_of(key)}”" for key in keys if not occurs(records, key=key)]
    never = say("Never in any run: {words}.", words=", ".join(silent)) if silent else ""
    panels = [word_panel(records, key=key) for key in keys if occurs(records, key=key)]
    return figure_of("figure_7_8_reflection_words", panels, num_columns=4, never=never)


def length_figure(records: Records) -> Figure:
    """How long responses are: all, those that end by themselves, those cut off, and how many are cut off."""
    return figure_of("response_length", step_panels(records, figure="response_length"), num_columns=4)


def policy_figure(records: Records) -> Figure:
    """How far the policy moved: entropy, KL to the reference, clipped tokens, language drift."""
    panels = [without_spikes(panel) for panel in step_panels(records, figure="policy_drift") if panel.lines]
    return figure_of("policy_drift", panels, num_columns=4, beyond=paragraph(*map(_beyond, panels)))


def without_spikes(panel: Panel) -> Panel:
    """The panel, its axis ending where nearly all values do if single steps lie so far above that they flatten the rest."""
    values = _values(panel)
    low, usual, high = values.min(), np.quantile(values, USUAL_SHARE, method="lower"), values.max()
    if usual == low or high - low < SPIKE * (usual - low):
        return panel
    margin = AXIS_MARGIN * (usual - low)
    return replace(panel, y_range=(float(low - margin), float(usual + margin)))


def _beyond(panel: Panel) -> str:
    """What the axis leaves out."""
    if panel.y_range is None:
        return ""
    scale, values = 100.0 if panel.is_share else 1.0, _values(panel)
    return say_named(
        "figures.beyond",
        panel=panel.title,
        end=scale * panel.y_range[1],
        share=100 * (values <= panel.y_range[1]).mean(),
        highest=scale * values.max(),
    )


def _values(panel: Panel) -> FloatArray:
    """All that is drawn of single runs."""
    runs = [run for line in panel.lines for run in (*line.by_seed.values(), *line.unfinished.values())]
    values = np.concatenate(runs)
    return values[~np.isnan(values)]
