"""pass@1, ..., pass@n of the untrained model and of trained arms: what can be solved at all beside what is solved at once."""

from collections.abc import Mapping

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.bands import TWO_WAY, pigeonhole_band
from vlm_rl.reports.figures.panels import Figure, Line, Panel, figure_of, how_to_read
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.untrained_models import untrained_models
from vlm_rl.reports.tables.pass_at_tables import pass_at_levels

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
