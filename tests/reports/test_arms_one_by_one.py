"""Small multiples: what lies in front, what behind, on which axes, and over which steps a point is a mean."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fake_runs import write_evaluation, write_manifest
from hand_training import run_of

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.figures.arms_one_by_one import training_one_by_one, validation_one_by_one, window_means
from vlm_rl.reports.figures.drawing import draw_panel, write_figure
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs

ENDPOINT = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
STEPS = 18  # a sixth is 3


def trained(label: str, *, low: float, seeds: int = 2) -> Arm:
    """Each seed rises by a point a step, seed s from `low` + 2 s points."""
    runs = [
        run_of(seed=seed, algorithm=label, train__accuracy=[low + 0.02 * seed + 0.01 * step for step in range(STEPS)])
        for seed in range(seeds)
    ]
    return Arm(label=label, runs=tuple(runs))


def silent(label: str) -> Arm:
    return Arm(label=label, runs=(run_of(seed=0, algorithm=label, train__loss=[0.0] * STEPS),))


def records(*arms: Arm) -> Records:
    return Records(arms=arms, problems=())


THREE = records(trained("a", low=0.1), trained("b", low=0.3), trained("c", low=0.5), silent("sft"))


def test_a_point_is_the_mean_of_the_whole_window_around_it() -> None:
    means = window_means(np.array([0.0, 3.0, 6.0, 0.0, np.nan, 3.0, 0.0, 0.0]), window=3)
    np.testing.assert_allclose(means, [np.nan, 3.0, 3.0, np.nan, np.nan, np.nan, 1.0, np.nan])
    assert np.isnan(window_means(np.array([1.0, 2.0]), window=3)).all()
    np.testing.assert_array_equal(window_means(np.array([1.0, 2.0]), window=1), [1.0, 2.0])


def test_each_arm_has_a_panel_with_its_seeds_and_the_means_of_the_others_behind_it() -> None:
    figure = training_one_by_one(THREE)
    assert [panel.title for panel in figure.panels] == ["a", "b", "c"]
    _, second, _ = figure.panels
    (line,) = second.lines
    assert [other.label for other in second.behind] == ["a", "c"]
    np.testing.assert_array_equal(line.x, np.arange(2, STEPS))  # whole windows: steps 2 to 17
    np.testing.assert_allclose(line.mean()[[0, -1]], [0.32, 0.47])  # 0.3 and 0.32 at the start; a point more a step
    np.testing.assert_allclose(line.spread(), 0.02 / np.sqrt(2))


def test_the_caption_names_the_window_and_the_arms_without_training_accuracy() -> None:
    caption = training_one_by_one(THREE).caption
    assert "the mean over the 3 steps around it" in caption
    assert "Without training accuracy of their own responses: sft; see the next figure." in caption


def test_all_panels_have_the_same_axes_that_show_every_seed_and_band() -> None:
    figure = training_one_by_one(THREE)
    limits = []
    for panel in figure.panels:
        canvas, axes = plt.subplots()
        draw_panel(axes, panel=panel)
        limits.append((axes.get_xlim(), axes.get_ylim()))
        plt.close(canvas)
    assert len(set(limits)) == 1
    low, high = limits[0][1]
    lowest, highest = 100 * (0.12 - 0.02 / np.sqrt(2)), 100 * (0.67 + 0.02 / np.sqrt(2))  # bands of the first and the last arm
    np.testing.assert_allclose([low, high], [lowest - 0.03 * (highest - lowest), highest + 0.03 * (highest - lowest)])


def test_numbers_of_other_arms_are_not_written_twice() -> None:
    panels = [panel.as_json() for panel in training_one_by_one(THREE).panels]
    assert [[line["arm"] for line in panel["lines"]] for panel in panels] == [["a"], ["b"], ["c"]]
    json.dumps(panels, allow_nan=False)


LONG = "grpo (lr-1e-5,model.lora.rank-64,dataset.source.train_rows-224)"


def test_long_names_take_lines_of_the_title_and_rows_of_the_legend(tmp_path: Path) -> None:
    """200 dots an inch; the height of a PNG stands in its bytes 20 to 24. A row of the legend is 0.2 inches, and one is space."""
    heights = []
    for label in ("grpo", LONG):
        arms = [trained(label, low=0.1 * place) for place in range(3)]
        path, _ = write_figure(training_one_by_one(records(*arms)), folder=tmp_path)
        heights.append(int.from_bytes(path.read_bytes()[20:24], "big"))
    assert heights == [200 * 2.5 + 40 * 2, 200 * 2.5 + 40 * 4]  # of three arms side by side, or below each other
    canvas, axes = plt.subplots()
    draw_panel(axes, panel=training_one_by_one(records(*arms)).panels[0])
    assert axes.get_title() == "grpo (lr-1e-5,model.lora.rank-\n64,dataset.source.train_rows-224)"
    plt.close(canvas)


def test_two_arms_need_no_panels_of_their_own() -> None:
    two = records(trained("a", low=0.1), trained("b", low=0.3))
    assert training_one_by_one(two).panels == validation_one_by_one(two, endpoint=ENDPOINT).panels == ()


def test_validation_shows_every_arm_from_the_same_untrained_model(tmp_path: Path) -> None:
    for seed in range(2):
        for variant, right in (("vanilla", {0: 2}), ("grpo", {1: 4, 2: 6}), ("rloo", {1: 3, 2: 3}), ("sft", {1: 2, 2: 1})):
            run = tmp_path / "s" / variant / f"seed-{seed}"
            arm = variant[0] * 16
            write_manifest(run, algorithm=variant, seed=seed, arm=arm, vanilla=None if variant == "vanilla" else "vanilla")
            for epoch, count in right.items():
                for split in ("val", "test"):
                    asked = {"epoch": epoch, "split": split, "setting": "pass@1_t0.6", "questions": 10}
                    write_evaluation(run, outcome=lambda q, s, count=count: q < count, **asked)
    figure = validation_one_by_one(read_records(find_runs([tmp_path / "s"]), reflection=None), endpoint=ENDPOINT)
    assert [panel.title for panel in figure.panels] == ["grpo", "rloo", "sft"]
    means = {panel.title: panel.lines[0].mean().tolist() for panel in figure.panels}
    assert means == {"grpo": [0.2, 0.4, 0.6], "rloo": [0.2, 0.3, 0.3], "sft": [0.2, 0.2, 0.1]}
    assert [panel.baseline for panel in figure.panels] == pytest.approx([0.2] * 3)
    assert all(np.isfinite(panel.lines[0].band()).all() for panel in figure.panels)
    assert "on val" in figure.title
