"""Behaviour as pictures: Figs. 6 to 8 of the paper, response lengths, and how far the policy moved."""

from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.reflection import REFLECTION_RATIOS
from vlm_rl.reports.figures.curves import drawn, occurs, ratio_panel, spread_note, step_panel, word_keys, word_of, word_panel
from vlm_rl.reports.figures.panels import Figure, FloatArray, Panel
from vlm_rl.reports.phrase import paragraph, say, told
from vlm_rl.reports.reading.arms import Records

USUAL_SHARE = 0.98  # of all values of all runs
SPIKE = 3.0  # times as far from the lowest value as the usual ones: beyond, a picture shows the spike and nothing else
AXIS_MARGIN = 0.1  # of the height of the usual values


def reflection_figure(records: Records) -> Figure:
    """Fig. 6 of the paper: all five ratios together with the response length."""
    length = step_panel(records, key="response_length/mean", title=say("Response length"), y=say("tokens, EOS included"))
    ratios = [ratio_panel(records, ratio=ratio) for ratio in REFLECTION_RATIOS]
    return Figure(
        name="figure_6_reflection_ratios",
        title=say("Reflection and response length"),
        caption=paragraph(
            say("Fig. 6 of the paper. A ratio without anything to divide by is left out, not drawn as 0."), spread_note()
        ),
        panels=drawn([length, *ratios]) if any(panel.lines for panel in ratios) else (),
        num_columns=3,
    )


def words_figure(records: Records) -> Figure:
    """Figs. 7 and 8 of the paper: every reflection word, those that never occur in one sentence."""
    keys = word_keys(records)
    silent = [f"“{word_of(key)}”" for key in keys if not occurs(records, key=key)]
    never = say("Never in any run: {words}.", words=", ".join(silent)) if silent else ""
    return Figure(
        name="figure_7_8_reflection_words",
        title=say("Reflection words"),
        caption=paragraph(
            say("Figs. 7 and 8 of the paper: occurrences of each word in the responses of one generation step."),
            *filter(None, [never]),
            spread_note(),
        ),
        panels=drawn([word_panel(records, key=key) for key in keys if occurs(records, key=key)]),
        num_columns=4,
    )


def length_figure(records: Records) -> Figure:
    """How long responses are: all, those that end by themselves, those cut off, and how many are cut off."""
    tokens = say("tokens, EOS included")
    panels = [
        step_panel(records, key="response_length/mean", title=say("All responses"), y=tokens),
        step_panel(records, key="response_length/mean_terminated", title=say("Ended by themselves"), y=tokens),
        step_panel(records, key="response_length/mean_truncated", title=say("Cut off"), y=tokens),
        step_panel(
            records, key="response_length/truncated", title=say("Share cut off"), y=say("responses cut off (%)"), share=True
        ),
    ]
    return Figure(
        name="response_length",
        title=say("Response length"),
        caption=paragraph(
            say("Mean length of the responses of a generation step; a step without a response of a kind has no point there."),
            spread_note(),
        ),
        panels=drawn(panels),
        num_columns=4,
    )


def policy_figure(records: Records) -> Figure:
    """How far the policy moved: entropy, KL to the reference, clipped tokens, language drift."""
    panels = [
        step_panel(records, key="policy/entropy", title=say("Entropy"), y=say("nats for each token")),
        step_panel(records, key="policy/kl", title=say("KL to the untrained model"), y=say("nats for each token")),
        step_panel(records, key="policy/clip_fraction", title=say("Clipped tokens"), y=say("tokens clipped (%)"), share=True),
        step_panel(
            records,
            key="language/foreign_share",
            title=say("Language drift"),
            y=say("letters of other scripts (%)"),
            share=True,
        ),
    ]
    panels = [without_spikes(panel) for panel in drawn(panels)]
    return Figure(
        name="policy_drift",
        title=say("How far the policy moved"),
        caption=paragraph(
            told("figures.policy"),
            *map(_beyond, panels),
            spread_note(),
        ),
        panels=tuple(panels),
        num_columns=4,
    )


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
    return told(
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
