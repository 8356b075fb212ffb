"""Behaviour as pictures: Figs. 6 to 8 of the paper, response lengths, and how far the policy moved."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import REFLECTION_RATIOS
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.curves import (
    occurs,
    ratio_panel,
    step_panel,
    step_panels,
    word_keys,
    word_of,
    word_panel,
)
from vlm_rl.reports.figures.panels import TWO_WAY, Figure, FloatArray, Line, Panel, figure_of, how_to_read, pigeonhole_band
from vlm_rl.reports.phrase import paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records, untrained_models
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.accuracy_tables import pass_at_levels

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


BySeed = Mapping[int, Evaluation]


def pass_at_figure(records: Records, *, endpoint: Endpoint) -> Figure:
    """A panel for each split; trained arms at the epoch that validation picks under the endpoint's setting."""
    setting = most_sampled(records)
    splits = records.splits() if setting is not None else []
    panels = [_panel(records, endpoint=endpoint, split=split, setting=setting or "") for split in splits]
    return figure_of(
        "pass_at_k",
        panels,
        num_columns=max(1, sum(bool(panel.lines) for panel in panels)),
        setting=title_of(setting) if setting else "",
        picked_by=endpoint.picked_by,
        endpoint=title_of(endpoint.setting),
        how_to_read=how_to_read(TWO_WAY),
    )


def most_sampled(records: Records) -> str | None:
    """The setting with most samples of each question; None if none has two."""
    samples: dict[str, int] = {}
    for evaluation in (evaluation for arm in records.arms for run in arm.runs for evaluation in run.evaluations.values()):
        fewest = int(evaluation.num_samples.min()) if evaluation.num_samples.size else 0
        samples[evaluation.setting] = min(fewest, samples.get(evaluation.setting, fewest))
    best = max(samples, key=samples.__getitem__, default=None)
    return best if best is not None and samples[best] > 1 else None


def _panel(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> Panel:
    untrained = {model.label for model in untrained_models(records)}
    levels = pass_at_levels(records, endpoint=endpoint, split=split, setting=setting)
    levels.sort(key=lambda level: level[0] in untrained)  # stable: arms keep the colours of every other figure
    return Panel(
        title=split,
        x_label=say("k"),
        y_label=say("pass@k (%)"),
        lines=tuple(_line(label, color=color, found=found) for color, (label, found) in enumerate(levels) if found),
        is_share=True,
        band=TWO_WAY,
    )


def _line(label: str, *, color: int, found: BySeed) -> Line:
    num_samples = min(int(evaluation.num_samples.min()) for evaluation in found.values())
    by_question = {seed: evaluation.pass_curve(num_samples) for seed, evaluation in found.items()}  # (questions, k)
    questions = {evaluation.questions.asked: evaluation.questions for evaluation in found.values()}
    band = np.full((2, num_samples), np.nan)
    if len(questions) == 1:
        scores = np.stack(list(by_question.values())).transpose(2, 0, 1)
        band[:] = pigeonhole_band(scores, images=next(iter(questions.values())).images())
    return Line(
        label=label,
        color=color,
        x=np.arange(1.0, num_samples + 1),
        by_seed={seed: scores.mean(axis=0) for seed, scores in by_question.items()},
        unfinished={},
        interval=(band[0], band[1]),
    )
