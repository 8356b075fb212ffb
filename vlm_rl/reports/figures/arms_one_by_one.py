"""Small multiples: each arm in a panel of its own, all on the same axes, the other arms faint behind it. For three arms or more."""

from dataclasses import replace

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.curves import Points, accuracy_panel, by_step, panel_of
from vlm_rl.reports.figures.panels import TWO_WAY, Figure, FloatArray, Line, Panel, figure_of, how_to_read
from vlm_rl.reports.phrase import listed, say
from vlm_rl.reports.reading.arms import Records, RunRecords

WINDOW_SHARE = 6  # of a run's steps: noise of single steps goes, rise and fall stay
MARGIN = 0.03  # of the height of the curves
NUM_COLUMNS = 4
GREY = say("All panels have the same axes; grey: the means of the other arms.")


def training_one_by_one(records: Records) -> Figure:
    """Training accuracy over generation steps; arms without responses of their own (SFT) are named, not drawn."""
    window = window_of(records)

    def points(run: RunRecords) -> Points:
        steps, means = by_step(run, key="generation_steps"), window_means(by_step(run, key="train/accuracy"), window=window)
        return dict(zip(steps.tolist(), means.tolist(), strict=True))

    x, y = say("generation steps"), say("training accuracy (%)")
    panel = panel_of(records, points=points, title=say("Training accuracy"), x=x, y=y, share=True)
    missing = [arm.label for place, arm in enumerate(records.trained) if place not in {line.color for line in panel.lines}]
    silent = say("Without training accuracy of their own responses: {arms}; see the next figure.", arms=listed(missing))
    return figure_of(
        "arms_one_by_one",
        one_by_one(panel) if records.has_many_arms else (),
        num_columns=NUM_COLUMNS,
        window=window,
        silent=silent if missing else "",
        grey=GREY,
    )


def validation_one_by_one(records: Records, *, endpoint: Endpoint) -> Figure:
    """Accuracy over epochs on the split that picks the epoch, under the setting of the endpoint: what all arms have."""
    panels: tuple[Panel, ...] = ()
    if records.has_many_arms:
        panels = one_by_one(accuracy_panel(records, split=endpoint.picked_by, setting=endpoint.setting))
    return figure_of(
        "arms_one_by_one_validation",
        panels,
        num_columns=NUM_COLUMNS,
        split=endpoint.picked_by,
        setting=title_of(endpoint.setting),
        grey=GREY,
        how_to_read=how_to_read(TWO_WAY),
    )


def one_by_one(panel: Panel) -> tuple[Panel, ...]:
    """A panel for each line of a panel, titled by its arm, on common axes."""
    ends = common_range(panel.lines)
    return tuple(
        replace(
            panel,
            title=line.label,
            lines=(line,),
            behind=tuple(other for other in panel.lines if other is not line),
            y_range=ends,
        )
        for line in panel.lines
    )


def common_range(lines: tuple[Line, ...]) -> tuple[float, float] | None:
    """Of shares: all that is drawn of any arm, bands too, within [0, 1]; None where nothing is."""
    drawn = [values for line in lines for values in (*line.by_seed.values(), *line.unfinished.values(), *line.band())]
    if not drawn:
        return None
    values = np.clip(np.concatenate(drawn), 0, 1)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = MARGIN * (high - low)
    return low - margin, high + margin


def window_of(records: Records) -> int:
    """An odd number of steps, about a sixth of the longest run."""
    longest = max((len(run.training) for arm in records.trained for run in arm.runs), default=0)
    return 2 * (longest // WINDOW_SHARE // 2) + 1


def window_means(values: FloatArray, *, window: int) -> FloatArray:
    """The mean over an odd window centred at each place; NaN where the window is cut off or a value in it is missing."""
    means = np.full(values.size, np.nan)
    if values.size >= window:
        half = window // 2
        means[half : values.size - half] = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
    return means
