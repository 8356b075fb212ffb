"""Figures over generation steps: which panels, which points, and where an axis ends."""

from typing import Any

import numpy as np
import pytest
from hand_training import records_of, run_of

from vlm_rl.reports.figures.curves import policy_figure, reflection_figure, step_figure, step_lines, words_figure
from vlm_rl.reports.figures.panels import BAND


def test_fig_6_holds_the_five_ratios_beside_the_length() -> None:
    run = run_of(
        seed=0,
        response_length__mean=[20.0, 21.0],
        reflection__reflection_ratio=[0.1, 0.2],
        reflection__reflection_ratio_in_correct_answers=[0.1, 0.2],
        reflection__reflection_ratio_in_incorrect_answers=[None, None],
        reflection__correct_ratio_in_reflection_texts=[None, 0.5],
        reflection__correct_ratio_in_no_reflection_texts=[0.5, 0.5],
    )
    panels = reflection_figure(records_of(run)).panels
    assert [(panel.title, panel.lines[0].x.tolist()) for panel in panels] == [  # no wrong answer ever: nothing to divide by
        ("Response length", [1, 2]),
        ("reflection_ratio", [1, 2]),
        ("reflection_ratio_in_correct_answers", [1, 2]),
        ("correct_ratio_in_reflection_texts", [2]),
        ("correct_ratio_in_no_reflection_texts", [1, 2]),
    ]
    assert not reflection_figure(records_of(run_of(seed=0, response_length__mean=[20.0]))).panels


def test_words_that_never_occur_share_one_sentence() -> None:
    run = run_of(seed=0, reflection__word__wait=[0, 2], reflection__word__check_again=[0, 0], reflection__word__yet=[0, 0])
    figure = words_figure(records_of(run))
    assert [panel.title for panel in figure.panels] == ["“wait”"]
    assert "Never in any run: “check again”, “yet”." in figure.caption


def test_panels_of_length_and_policy_are_those_that_have_values() -> None:
    lengths = {"response_length__mean": [1.0], "response_length__truncated": [0.5]}
    records = records_of(run_of(seed=0, policy__kl=[0.1], language__foreign_share=[0], **lengths))
    assert [panel.title for panel in step_figure(records, "response_length").panels] == ["All responses", "Share cut off"]
    assert [panel.title for panel in policy_figure(records).panels] == ["KL to the untrained model", "Language drift"]


@pytest.mark.parametrize(
    ("window", "values", "expected"),
    [
        (3, [0.0, 3.0, 6.0, 0.0, None, 3.0, 0.0, 0.0], {2: 3.0, 3: 3.0, 7: 1.0}),
        (3, [1.0, 2.0], {}),
        (1, [1.0, 2.0], {1: 1.0, 2: 2.0}),
    ],
)
def test_a_point_is_the_mean_of_the_whole_window_around_it(
    window: int, values: list[float | None], expected: dict[int, float]
) -> None:
    lines = step_lines(records_of(run_of(seed=0, x=values)), key="x", window=window)
    assert {step: mean for line in lines for step, mean in zip(line.x, line.mean(), strict=True)} == pytest.approx(expected)


CALM = [0.001 * step for step in range(60)]  # with a spike 98 % of the values end at the 59th; the axis ends a tenth above it


@pytest.mark.parametrize(
    ("values", "ends", "told"),
    [
        (
            {"policy__kl": [*CALM, 1.5], "policy__entropy": [*CALM, 0.06]},
            [None, pytest.approx((-0.0058, 0.0638))],
            "“KL to the untrained model” ends at 0.064, as 98 % of the values lie below; the highest is 1.5.",
        ),
        (
            {"policy__clip_fraction": [*([0.001, 0.002] * 30), 0.5], "language__foreign_share": [*([0.0] * 60), 0.5]},
            [pytest.approx((0.0009, 0.0021)), None],  # nothing is usual but 0
            "“Clipped tokens” ends at 0.21, as 98 % of the values lie below; the highest is 50.",
        ),
    ],
)
def test_a_single_spike_does_not_flatten_the_axis_and_is_named(
    values: dict[str, list[float]], ends: list[Any], told: str
) -> None:
    figure = policy_figure(records_of(run_of(seed=0, **values)))
    assert [panel.y_range for panel in figure.panels] == ends
    assert f"The axis of {told}" in figure.caption and figure.caption.count("The axis of") == 1
    assert {panel.lines[0].by_seed[0].max() for panel in figure.panels} == {max(run) for run in values.values()}  # all are kept


def test_other_curves_keep_the_spread_over_seeds() -> None:
    (panel,) = policy_figure(records_of(*(run_of(seed=seed, policy__kl=[0.1 * seed]) for seed in range(3)))).panels
    assert panel.band == BAND
    np.testing.assert_allclose(panel.lines[0].band(), [[0.0], [0.2]], atol=1e-12)
