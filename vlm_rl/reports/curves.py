"""The figures of the paper as panels: Fig. 4, what happens while training, and Fig. 5, accuracy under the evaluation scheme."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.json_lines import number
from vlm_rl.reports.panels import BAND, Figure, Line, Panel

Points = Mapping[float, float]  # x -> y of one run
WORD_PREFIX = "reflection/word/"
SPREAD_NOTE = (
    f"Thick: mean over seeds; band: {BAND}, n in the legend; thin: every seed. Dotted: unfinished runs, not in the mean."
)


def dynamics_figure(records: Records) -> Figure:
    """Fig. 4 of the paper; panels without a single value are left out, words are those of this report's runs."""
    candidates = [
        _panel(
            records, points=_training_accuracy, title="Training accuracy", x="epoch", y="accuracy in the epoch (%)", share=True
        ),
        _step_panel(records, key="response_length/mean", title="Response length", y="tokens, EOS included"),
        _step_panel(
            records, key="reflection/reflection_ratio", title="reflection_ratio", y="responses that reflect (%)", share=True
        ),
        _step_panel(
            records,
            key="reflection/correct_ratio_in_reflection_texts",
            title="correct_ratio_in_reflection_texts",
            y="right among those (%)",
            share=True,
        ),
        *(_word_panel(records, key=key) for key in changing_words(records, count=2)),
    ]
    return Figure(
        name="figure_4_training_dynamics",
        title="What happened while training",
        caption=(
            "Fig. 4 of the paper. The two words are those whose count changed most, first to last fifth of the steps. "
            + SPREAD_NOTE
        ),
        panels=tuple(panel for panel in candidates if panel.lines),
        num_columns=3,
    )


def accuracy_figure(records: Records) -> Figure:
    """Fig. 5 of the paper: a row for each split, a column for each setting."""
    settings = records.settings()
    panels = [_accuracy_panel(records, split=split, setting=setting) for split in records.splits() for setting in settings]
    return Figure(
        name="figure_5_accuracy",
        title="Accuracy on val and test",
        caption=(
            "Fig. 5 of the paper. Epoch 0 and the dashed line are Vanilla, the untrained model, averaged over seeds. "
            + SPREAD_NOTE
        ),
        panels=tuple(panel for panel in panels if panel.lines),
        num_columns=max(1, len(settings)),
    )


def changing_words(records: Records, *, count: int) -> list[str]:
    """The reflection words whose count for each step changed most over training in any run; among equals the more frequent."""
    keys = sorted(
        {
            key
            for arm in records.trained
            for run in arm.used
            for line in run.training
            for key in line
            if key.startswith(WORD_PREFIX)
        }
    )
    ranked = sorted(
        keys, key=lambda key: max(_change(run, key=key) for arm in records.trained for run in arm.used), reverse=True
    )
    return [key for key in ranked if any(_occurs(run, key=key) for arm in records.trained for run in arm.used)][:count]


def _change(run: RunRecords, *, key: str) -> tuple[float, float]:
    """How far the last fifth of a run lies from its first, and how often the word came in all."""
    counts = np.array([value for line in run.training if not math.isnan(value := number(line, key=key))])
    if not counts.size:
        return 0.0, 0.0
    fifth = max(1, counts.size // 5)
    return float(abs(counts[-fifth:].mean() - counts[:fifth].mean())), float(counts.sum())


def _occurs(run: RunRecords, *, key: str) -> bool:
    return any(number(line, key=key) > 0 for line in run.training)


def _word_panel(records: Records, *, key: str) -> Panel:
    word = key.removeprefix(WORD_PREFIX).replace("_", " ")
    return _step_panel(records, key=key, title=f"“{word}”", y="occurrences in a step")


def _step_panel(records: Records, *, key: str, title: str, y: str, share: bool = False) -> Panel:
    def by_step(run: RunRecords) -> Points:
        return {number(line, key="generation_steps"): number(line, key=key) for line in run.training}

    return _panel(records, points=by_step, title=title, x="generation steps", y=y, share=share)


def _panel(
    records: Records, *, points: Callable[[RunRecords], Points], title: str, x: str, y: str, share: bool = False
) -> Panel:
    lines = [_line(arm, color=color, points=points) for color, arm in enumerate(records.trained)]
    drawn = tuple(line for line in lines if line is not None)
    return Panel(title=title, x_label=x, y_label=y, lines=drawn, is_share=share)


def _accuracy_panel(records: Records, *, split: str, setting: str) -> Panel:
    def by_epoch(run: RunRecords) -> Points:
        found = run.evaluations.items()
        return {float(epoch): e.accuracy() for (epoch, *rest), e in found if rest == [split, setting]}

    panel = _panel(records, points=by_epoch, title=f"{split}, {title_of(setting)}", x="epoch", y="accuracy (%)", share=True)
    return Panel(
        title=panel.title,
        x_label=panel.x_label,
        y_label=panel.y_label,
        lines=panel.lines,
        is_share=True,
        baseline=_baseline(records.arms, split=split, setting=setting),
    )


def _baseline(arms: Sequence[Arm], *, split: str, setting: str) -> float | None:
    """Mean over seeds of the untrained model, each file once however many arms share it."""
    found = {
        e.path.resolve(): e.accuracy()
        for arm in arms
        for e in arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    }
    return float(np.mean(list(found.values()))) if found else None


def _training_accuracy(run: RunRecords) -> Points:
    """Accuracy accumulated over each epoch: the value of the epoch's last step, at the end of the epoch."""
    accumulated: dict[float, float] = {}
    for line in run.training:
        epoch, accuracy = number(line, key="epoch"), number(line, key="train/accuracy_in_epoch")
        if not math.isnan(epoch + accuracy):
            accumulated[float(math.ceil(epoch - 1e-6))] = accuracy
    return accumulated


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
