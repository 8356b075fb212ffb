"""The figures of the paper as panels: Fig. 4, what happens while training, and Fig. 5, accuracy under the evaluation scheme."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.dynamics import first_and_last_fifth
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.panels import TWO_WAY, Figure, FloatArray, Line, Panel, accuracy_band, figure_of, how_to_read
from vlm_rl.reports.phrase import names, phrase_of, say, words
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords, UntrainedModel, untrained_models
from vlm_rl.reports.reading.files import number

Points = Mapping[float, float]  # x -> y of one run
WORD_PREFIX = "reflection/word/"
RATIO_LABELS = names("ratios")


def dynamics_figure(records: Records) -> Figure:
    """Fig. 4 of the paper; panels without a single value are left out, words are those of this report's runs."""
    candidates = [
        panel_of(
            records,
            points=training_accuracy,
            title=say("Training accuracy"),
            x=say("epoch"),
            y=say("accuracy in the epoch (%)"),
            share=True,
        ),
        step_panel(records, key="response_length/mean", title=say("Response length"), y=say("tokens, EOS included")),
        ratio_panel(records, ratio="reflection_ratio"),
        ratio_panel(records, ratio="correct_ratio_in_reflection_texts"),
        *(word_panel(records, key=key) for key in changing_words(records, count=2)),
    ]
    return figure_of("figure_4_training_dynamics", candidates, num_columns=3)


def accuracy_figure(records: Records) -> Figure:
    """Fig. 5 of the paper: a row for each split, a column for each setting; of a single setting the splits side by side."""
    settings = records.settings()
    panels = [accuracy_panel(records, split=split, setting=setting) for split in records.splits() for setting in settings]
    several = say("Arms began from different models: each has its own epoch 0, and there is no dashed line.")
    return figure_of(
        "figure_5_accuracy",
        panels,
        num_columns=len(settings) if len(settings) > 1 else max(1, len(panels)),
        how_to_read=how_to_read(TWO_WAY),
        several_models=several if len(untrained_models(records)) > 1 else "",
    )


def changing_words(records: Records, *, count: int) -> list[str]:
    """The reflection words whose count for each step changed most over training in any run; among equals the more frequent."""
    occurring = [key for key in word_keys(records) if occurs(records, key=key)]
    runs = [run for arm in records.trained for run in arm.used]
    return sorted(sorted(occurring), key=lambda key: max(_change(run, key=key) for run in runs), reverse=True)[:count]


def word_keys(records: Records) -> list[str]:
    """The key of every reflection word that was counted in any run, in the order of the word list."""
    lines = (line for arm in records.trained for run in arm.used for line in run.training)
    return list(dict.fromkeys(key for line in lines for key in line if key.startswith(WORD_PREFIX)))


def occurs(records: Records, *, key: str) -> bool:
    """Whether a word occurs in any step of any used run."""
    return any(number(line, key=key) > 0 for arm in records.trained for run in arm.used for line in run.training)


def word_of(key: str) -> str:
    """`check again` of `reflection/word/check_again`."""
    return key.removeprefix(WORD_PREFIX).replace("_", " ")


def by_step(run: RunRecords, *, key: str) -> FloatArray:
    """A quantity at each generation step of a run, NaN where it has none."""
    return np.array([number(line, key=key) for line in run.training])


def training_accuracy(run: RunRecords) -> Points:
    """Accuracy accumulated over each epoch: the value of the epoch's last step, at the end of the epoch."""
    accumulated: dict[float, float] = {}
    for line in run.training:
        epoch, accuracy = number(line, key="epoch"), number(line, key="train/accuracy_in_epoch")
        if not math.isnan(epoch + accuracy):
            accumulated[float(math.ceil(epoch - 1e-6))] = accuracy
    return accumulated


def word_panel(records: Records, *, key: str) -> Panel:
    """How often a reflection word occurs in the responses of a step."""
    return step_panel(records, key=key, title=f"“{word_of(key)}”", y=say("occurrences in a step"))


def ratio_panel(records: Records, *, ratio: str) -> Panel:
    """One of the paper's five ratios over generation steps."""
    return step_panel(records, key=f"reflection/{ratio}", title=ratio, y=RATIO_LABELS[ratio], share=True)


def step_panel(records: Records, *, key: str, title: str, y: str, share: bool = False) -> Panel:
    """A quantity of the training records over generation steps."""

    def points(run: RunRecords) -> Points:
        return {number(line, key="generation_steps"): number(line, key=key) for line in run.training}

    return panel_of(records, points=points, title=title, x=say("generation steps"), y=y, share=share)


def step_panels(records: Records, *, figure: str) -> list[Panel]:
    """The panels that words/figures.toml declares for a figure."""
    declared = words("figures")[figure]["panels"]
    return [
        step_panel(records, key=key, title=phrase_of(title, {}), y=phrase_of(y, {}), share=bool(share))
        for key, title, y, *share in declared
    ]


def panel_of(
    records: Records, *, points: Callable[[RunRecords], Points], title: str, x: str, y: str, share: bool = False
) -> Panel:
    """A panel with a line for each trained arm that has any value."""
    lines = [_line(arm, color=color, points=points) for color, arm in enumerate(records.trained)]
    known = tuple(line for line in lines if line is not None)
    return Panel(title=title, x_label=x, y_label=y, lines=known, is_share=share)


def _change(run: RunRecords, *, key: str) -> tuple[float, float]:
    """How far the last fifth of a run lies from its first, and how often the word came in all."""
    counts = by_step(run, key=key)
    change = abs(first_and_last_fifth(counts).change)
    return (0.0 if math.isnan(change) else change), float(np.nansum(counts))


def accuracy_panel(records: Records, *, split: str, setting: str) -> Panel:
    """Accuracy over epochs on a split under a setting, epoch 0 the untrained model, with bands over seeds and images."""

    def points(run: RunRecords) -> Points:
        found = run.evaluations.items()
        return {float(epoch): e.accuracy() for (epoch, *rest), e in found if rest == [split, setting]}

    title = say("{split}, {setting}", split=split, setting=title_of(setting))
    panel = panel_of(records, points=points, title=title, x=say("epoch"), y=say("accuracy (%)"), share=True)
    lines = tuple(_two_way(line, arm=records.trained[line.color], split=split, setting=setting) for line in panel.lines)
    return replace(
        panel, lines=lines, band=TWO_WAY, baseline=_baseline(untrained_models(records), split=split, setting=setting)
    )


def _two_way(line: Line, *, arm: Arm, split: str, setting: str) -> Line:
    points = [[run.evaluations.get((int(epoch), split, setting)) for run in arm.used] for epoch in line.x]
    return replace(line, interval=accuracy_band(points))


def _baseline(models: Sequence[UntrainedModel], *, split: str, setting: str) -> float | None:
    """Mean over seeds of the one untrained model; None where arms began from several."""
    found = [e.accuracy() for model in models for e in model.by_seed(split=split, setting=setting).values()]
    return float(np.mean(found)) if found and len(models) == 1 else None


def _line(arm: Arm, *, color: int, points: Callable[[RunRecords], Points]) -> Line | None:
    used = {records.run.seed: _known(points(records)) for records in arm.used}
    unfinished = {records.run.seed: _known(points(records)) for records in arm.left_out}
    x = sorted({x for values in (*used.values(), *unfinished.values()) for x in values})
    if not any(used.values()):
        return None
    return Line(
        label=arm.label,
        color=color,
        x=np.array(x),
        by_seed={seed: _over(x, points=values) for seed, values in used.items()},
        unfinished={seed: _over(x, points=values) for seed, values in unfinished.items()},
    )


def _known(points: Points) -> Points:
    return {x: y for x, y in points.items() if not math.isnan(x + y)}


def _over(x: Sequence[float], *, points: Points) -> np.ndarray:
    return np.array([points.get(position, math.nan) for position in x])
