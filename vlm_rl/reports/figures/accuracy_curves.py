"""Accuracy as pictures: Fig. 5 of the paper, pass@1 to pass@n, and each of many arms in a panel of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from vlm_rl.evaluation.bootstrap import QuestionCounts, SeedCounts, bootstrap_means, resample, resample_images
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.curves import Points, lines_of, step_panels
from vlm_rl.reports.figures.panels import Figure, FloatArray, Line, Panel, figure_of
from vlm_rl.reports.phrase import listed, say
from vlm_rl.reports.reading.arms import Records, RunRecords, vanilla_models
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.accuracy_tables import pass_at_levels

NUM_DRAWS = 1000  # a picture cannot show what more would add
STREAM = 7  # key of the generator: a report drawn twice is the same
TWO_WAY = say("95 % pigeonhole bootstrap over seeds and images")


def accuracy_figure(records: Records) -> Figure:
    """Fig. 5 of the paper: a row for each split, a column for each setting; of a single setting the splits side by side."""
    settings = records.settings()
    panels = [accuracy_panel(records, split=split, setting=setting) for split in records.splits() for setting in settings]
    several = say("Arms began from different models: each has its own epoch 0, and there is no dashed line.")
    return figure_of(
        "figure_5_accuracy",
        panels,
        num_columns=len(settings) if len(settings) > 1 else len(panels),
        several_models=several if len(vanilla_models(records)) > 1 else "",
    )


def accuracy_panel(records: Records, *, split: str, setting: str) -> Panel:
    """Accuracy over epochs on a split under a setting, epoch 0 the vanilla model, with bands over seeds and images."""

    def points(run: RunRecords) -> Points:
        found = run.evaluations.items()
        return {float(epoch): e.accuracy() for (epoch, *rest), e in found if rest == [split, setting]}

    def with_band(line: Line) -> Line:
        runs = records.trained[line.color].used
        places = [(int(epoch), split, setting) for epoch in line.x]
        found = [[run.evaluations[place] for run in runs if place in run.evaluations] for place in places]
        return replace(line, interval=two_way_band(found, num_seeds=len(runs)))

    models = vanilla_models(records)
    vanilla = [e.accuracy() for model in models for e in model.by_seed(split=split, setting=setting).values()]
    return Panel(
        title=say("{split}, {setting}", split=split, setting=title_of(setting)),
        x_label=say("epoch"),
        y_label=say("accuracy (%)"),
        lines=tuple(map(with_band, lines_of(records, points=points))),
        is_share=True,
        baseline=float(np.mean(vanilla)) if vanilla and len(models) == 1 else None,
        band=TWO_WAY,
    )


def two_way_band(points: Sequence[Sequence[Evaluation]], *, num_seeds: int) -> FloatArray:
    """95 % percentile ends at each point of a curve, from the evaluation of each seed there: (2, points).

    NaN where a seed has none, with a single seed, and if not all answered the same questions: the bootstrap of crossed rows and
    columns does not speak of that.
    """
    ends = np.full((2, len(points)), np.nan)
    whole = [place for place, row in enumerate(points) if len(row) == num_seeds]
    questions = {one.questions.asked: one.questions for place in whole for one in points[place]}
    if num_seeds > 1 and len(questions) == 1:
        (shared,) = questions.values()
        seeds, drawn = _draws(num_seeds, images=tuple(shared.images()))
        scores = np.array([[one.scores() for one in points[place]] for place in whole])
        ends[:, whole] = np.quantile(bootstrap_means(scores, seeds=seeds, questions=drawn), [0.025, 0.975], axis=-1)
    return ends


@lru_cache(maxsize=4)
def _draws(num_seeds: int, *, images: tuple[str, ...]) -> tuple[SeedCounts, QuestionCounts]:
    """How often each seed and each question comes in each draw."""
    of_seeds, of_images = (np.random.Generator(np.random.Philox(key=[STREAM, purpose])) for purpose in (num_seeds, 0))
    seeds = resample(num_seeds, generator=of_seeds, num_draws=NUM_DRAWS)
    return seeds, resample_images(images, generator=of_images, num_draws=NUM_DRAWS)


def pass_at_figure(records: Records, *, endpoint: Endpoint) -> Figure:
    """A panel for each split; trained arms at the epoch that validation selects under the endpoint's setting."""
    setting = most_sampled(records)
    splits = records.splits() if setting else []
    return figure_of(
        "pass_at_k",
        [_pass_at_panel(records, endpoint=endpoint, split=split, setting=setting) for split in splits],
        num_columns=len(splits),
        setting=setting and title_of(setting),
        picked_by=endpoint.picked_by,
        endpoint=title_of(endpoint.setting),
    )


def most_sampled(records: Records) -> str:
    """The setting with most samples of each question; empty if none has two."""
    samples: dict[str, int] = {}
    for evaluation in (evaluation for arm in records.arms for run in arm.runs for evaluation in run.evaluations.values()):
        fewest = int(evaluation.num_samples.min()) if evaluation.num_samples.size else 0
        samples[evaluation.setting] = min(fewest, samples.get(evaluation.setting, fewest))
    return max((setting for setting in samples if samples[setting] > 1), key=samples.__getitem__, default="")


def _pass_at_panel(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> Panel:
    vanilla = {model.label for model in vanilla_models(records)}
    levels = pass_at_levels(records, endpoint=endpoint, split=split, setting=setting)
    levels.sort(key=lambda level: level[0] in vanilla)  # stable: arms keep the colours of every other figure
    lines = tuple(_pass_at_line(label, color=color, found=found) for color, (label, found) in enumerate(levels) if found)
    return Panel(title=split, x_label=say("k"), y_label=say("pass@k (%)"), lines=lines, is_share=True, band=TWO_WAY)


def _pass_at_line(label: str, *, color: int, found: Mapping[int, Evaluation]) -> Line:
    num_samples = min(int(evaluation.num_samples.min()) for evaluation in found.values())
    temperature = next(iter(found.values())).setting.partition("_")[2]  # t1.0
    settings = [f"pass@{k}_{temperature}" for k in range(1, num_samples + 1)]
    return Line(
        label=label,
        color=color,
        x=np.arange(1.0, num_samples + 1),
        by_seed={seed: evaluation.pass_curve(num_samples).mean(axis=0) for seed, evaluation in found.items()},
        unfinished={},
        interval=two_way_band([[one.under(each) for one in found.values()] for each in settings], num_seeds=len(found)),
    )


WINDOW_SHARE = 6  # of a run's steps: noise of single steps goes, rise and fall stay
MARGIN = 0.03  # of the height of the curves


def training_one_by_one(records: Records) -> Figure:
    """Training accuracy over generation steps; arms without responses of their own (SFT) are named, not drawn."""
    longest = max((len(run.training.records) for arm in records.trained for run in arm.runs), default=0)
    window = 2 * (longest // WINDOW_SHARE // 2) + 1  # an odd number of steps
    (panel,) = step_panels(records, "arms_one_by_one", window=window)
    drawn = {line.color for line in panel.lines}
    missing = [arm.label for place, arm in enumerate(records.trained) if place not in drawn]
    silent = say("Without training accuracy of their own responses: {arms}; see the next figure.", arms=listed(missing))
    panels = one_by_one(panel) if records.has_many_arms else []
    return figure_of("arms_one_by_one", panels, window=window, silent=silent if missing else "")


def validation_one_by_one(records: Records, *, endpoint: Endpoint) -> Figure:
    """Accuracy over epochs on the split that selects the epoch, under the setting of the endpoint: what all arms have."""
    split, setting = endpoint.picked_by, endpoint.setting
    panels = one_by_one(accuracy_panel(records, split=split, setting=setting)) if records.has_many_arms else []
    return figure_of("arms_one_by_one_validation", panels, split=split, setting=title_of(setting))


def one_by_one(panel: Panel) -> Iterator[Panel]:
    """A panel for each line of a panel of shares, titled by its arm, the others behind it, on axes that hold all runs and bands."""
    if not panel.lines:
        return
    drawn = np.clip(np.concatenate([panel.values(), *(end for line in panel.lines for end in line.band())]), 0, 1)
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    ends = (low - MARGIN * (high - low), high + MARGIN * (high - low))
    for line in panel.lines:
        others = tuple(other for other in panel.lines if other is not line)
        yield replace(panel, title=line.label, lines=(line,), behind=others, y_range=ends)
