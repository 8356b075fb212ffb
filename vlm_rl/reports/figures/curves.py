"""What happened while training: Figs. 4 and 6 to 8 of the paper, response lengths, and how far the policy moved."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.dynamics import first_and_last_fifth
from vlm_rl.reports.figures.panels import Figure, FloatArray, Line, Panel, figure_of
from vlm_rl.reports.phrase import paragraph, phrase_of, say, say_named, words
from vlm_rl.reports.reading.arms import Records, RunRecords
from vlm_rl.reports.reading.early_ends import seeds_by_epoch

Points = Mapping[float, float]  # x -> y of one run
STEPS = say("generation steps")
WORD_PREFIX = "reflection/word/"
USUAL_SHARE = 0.98  # of all values of all runs
SPIKE = 3.0  # times as far from the lowest value as the usual ones: beyond, a picture shows the spike and nothing else
AXIS_MARGIN = 0.1  # of the height of the usual values


def by_step(run: RunRecords, *, key: str) -> FloatArray:
    """A quantity at each generation step of a run, NaN where it has none."""
    return run.training.column(key)


def training_accuracy(run: RunRecords) -> Points:
    """Accuracy accumulated over each epoch: the value of the epoch's last step, at the end of the epoch."""
    epochs, accuracy = by_step(run, key="epoch"), by_step(run, key="train/accuracy_in_epoch")
    known = ~np.isnan(epochs + accuracy)
    return dict(zip(np.ceil(epochs[known] - 1e-6).tolist(), accuracy[known].tolist(), strict=True))


def word_keys(records: Records) -> list[str]:
    """The key of every reflection word that was counted in any run, in the order of the word list."""
    runs = (run for arm in records.trained for run in arm.used)
    return list(dict.fromkeys(key for run in runs for key in run.training.keys if key.startswith(WORD_PREFIX)))


def occurs(records: Records, *, key: str) -> bool:
    """Whether a word occurs in any step of any used run."""
    return any((by_step(run, key=key) > 0).any() for arm in records.trained for run in arm.used)


def word_of(key: str) -> str:
    """`check again` of `reflection/word/check_again`."""
    return key.removeprefix(WORD_PREFIX).replace("_", " ")


def changing_words(records: Records, *, count: int) -> list[str]:
    """The reflection words whose count for each step changed most over training in any run; among equals the more frequent."""
    runs = [run for arm in records.trained for run in arm.used]

    def change(key: str) -> tuple[float, float]:
        counts = [by_step(run, key=key) for run in runs]
        return max((float(np.nan_to_num(abs(first_and_last_fifth(one).change))), float(np.nansum(one))) for one in counts)

    occurring = sorted(key for key in word_keys(records) if occurs(records, key=key))
    return sorted(occurring, key=change, reverse=True)[:count]


def lines_of(records: Records, *, points: Callable[[RunRecords], Points]) -> tuple[Line, ...]:
    """A line for each trained arm that has any value."""
    lines = []
    for color, arm in enumerate(records.trained):
        known = {run.run.seed: {x: y for x, y in points(run).items() if not math.isnan(x + y)} for run in arm.runs}
        places = sorted(set().union(*known.values()))
        values = {seed: np.array([found.get(x, math.nan) for x in places]) for seed, found in known.items()}
        used, unfinished = ({run.run.seed: values[run.run.seed] for run in runs} for runs in (arm.used, arm.left_out))
        if any(known[seed] for seed in used):
            counts = seeds_by_epoch([run.run for run in arm.used])
            lines.append(
                Line(
                    label=arm.label,
                    color=color,
                    x=np.array(places),
                    by_seed=used,
                    unfinished=unfinished,
                    seeds_by_epoch=counts,
                )
            )
    return tuple(lines)


def step_lines(records: Records, *, key: str, window: int = 1) -> tuple[Line, ...]:
    """A quantity over generation steps; each point is the mean over an odd window around it, and there is none where it is cut off."""

    def points(run: RunRecords) -> Points:
        steps, values = by_step(run, key="generation_steps"), by_step(run, key=key)
        if values.size < window:
            return {}
        means = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
        return dict(zip(steps[window // 2 :].tolist(), means.tolist(), strict=False))

    return lines_of(records, points=points)


def step_panels(records: Records, name: str, *, window: int = 1) -> list[Panel]:
    """The panels over generation steps that words/figures.toml declares for a figure."""
    return [
        Panel(
            title=phrase_of(title, {"name": key.rpartition("/")[2]}),
            x_label=STEPS,
            y_label=phrase_of(y, {}),
            lines=step_lines(records, key=key, window=window),
            is_share=bool(share),
        )
        for key, title, y, *share in words("figures")[name]["panels"]
    ]


def word_panel(records: Records, *, key: str) -> Panel:
    """How often a reflection word occurs in the responses of a step."""
    y, lines = say("occurrences in a step"), step_lines(records, key=key)
    return Panel(title=f"“{word_of(key)}”", x_label=STEPS, y_label=y, lines=lines)


def step_figure(records: Records, name: str) -> Figure:
    """A figure of which words/figures.toml says everything."""
    return figure_of(name, step_panels(records, name))


def dynamics_figure(records: Records) -> Figure:
    """Fig. 4 of the paper; panels without a single value are left out, words are those of this report's runs."""
    name, title, y = "figure_4_training_dynamics", say("Training accuracy"), say("accuracy in the epoch (%)")
    lines = lines_of(records, points=training_accuracy)
    accuracy = Panel(title=title, x_label=say("epoch"), y_label=y, lines=lines, is_share=True)
    most_changed = [word_panel(records, key=key) for key in changing_words(records, count=2)]
    return figure_of(name, [accuracy, *step_panels(records, name), *most_changed], num_columns=3)


def reflection_figure(records: Records) -> Figure:
    """Fig. 6 of the paper: all five ratios together with the response length."""
    name = "figure_6_reflection_ratios"
    length, *ratios = step_panels(records, name)
    return figure_of(name, [length, *ratios] if any(panel.lines for panel in ratios) else [], num_columns=3)


def words_figure(records: Records) -> Figure:
    """Figs. 7 and 8 of the paper: every reflection word, those that never occur in one sentence."""
    keys = word_keys(records)
    occurring = [key for key in keys if occurs(records, key=key)]
    silent = ", ".join(f"“{word_of(key)}”" for key in keys if key not in occurring)
    never = say("Never in any run: {words}.", words=silent) if silent else ""
    return figure_of("figure_7_8_reflection_words", [word_panel(records, key=key) for key in occurring], never=never)


def policy_figure(records: Records) -> Figure:
    """How far the policy moved: entropy, KL to the reference, clipped tokens, language drift."""
    panels = [without_spikes(panel) for panel in step_panels(records, "policy_drift") if panel.lines]
    return figure_of("policy_drift", panels, beyond=paragraph(*map(_beyond, panels)))


def without_spikes(panel: Panel) -> Panel:
    """The panel, its axis ending where nearly all values do if single steps lie so far above that they flatten the rest."""
    values = panel.values()
    low, usual, high = values.min(), np.quantile(values, USUAL_SHARE, method="lower"), values.max()
    if usual == low or high - low < SPIKE * (usual - low):
        return panel
    margin = AXIS_MARGIN * (usual - low)
    return replace(panel, y_range=(float(low - margin), float(usual + margin)))


def _beyond(panel: Panel) -> str:
    """What the axis leaves out."""
    if panel.y_range is None:
        return ""
    values, end = panel.values(), panel.y_range[1]
    return say_named(
        "figures.beyond",
        panel=panel.title,
        end=panel.scale * end,
        share=100 * (values <= end).mean(),
        highest=panel.scale * values.max(),
    )
