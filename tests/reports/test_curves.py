"""Curves: which panels, which points, which bands, and where an axis ends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_study
from hand_runs import BY_HAND, ENDPOINT, ends, records_of, write_by_hand
from hand_training import records_of as of_runs
from hand_training import run_of
from matplotlib.figure import Figure as Canvas
from scipy import stats

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k
from vlm_rl.reports.figures import accuracy_curves, curves
from vlm_rl.reports.figures.accuracy_curves import TWO_WAY, accuracy_figure, pass_at_figure, training_one_by_one
from vlm_rl.reports.figures.drawing import draw_panel
from vlm_rl.reports.figures.panels import BAND
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.gain_tables import aggregate_table


def test_fig_6_holds_the_five_ratios_beside_the_length() -> None:
    """Without the fifth, where nothing is divided by nothing: no answer is ever wrong."""
    ratios: dict[str, list[float | None]] = {
        "reflection_ratio": [0.1, 0.2],
        "reflection_ratio_in_correct_answers": [0.1, 0.2],
        "correct_ratio_in_reflection_texts": [None, 0.5],
        "correct_ratio_in_no_reflection_texts": [0.5, 0.5],
    }
    keys = {f"reflection__{name}": values for name, values in ratios.items()}
    keys["reflection__reflection_ratio_in_incorrect_answers"] = [None, None]
    panels = curves.reflection_figure(of_runs(run_of(seed=0, response_length__mean=[20.0, 21.0], **keys))).panels
    steps = dict(zip(["Response length", *ratios], ([1, 2], [1, 2], [1, 2], [2], [1, 2]), strict=True))
    assert [(panel.title, panel.lines[0].x.tolist()) for panel in panels] == list(steps.items())
    assert not curves.reflection_figure(of_runs(run_of(seed=0, response_length__mean=[20.0]))).panels


def test_words_that_never_occur_share_one_sentence() -> None:
    run = run_of(seed=0, reflection__word__wait=[0, 2], reflection__word__check_again=[0, 0], reflection__word__yet=[0, 0])
    figure = curves.words_figure(of_runs(run))
    assert [panel.title for panel in figure.panels] == ["“wait”"]
    assert "Never in any run: “check again”, “yet”." in figure.caption


def test_a_point_is_the_mean_of_the_whole_window_around_it() -> None:
    def means(*values: float | None, window: int) -> dict[float, float]:
        lines = curves.step_lines(of_runs(run_of(seed=0, x=values)), key="x", window=window)
        return {step: mean for line in lines for step, mean in zip(line.x, line.mean(), strict=True)}

    assert means(0.0, 3.0, 6.0, 0.0, None, 3.0, 0.0, 0.0, window=3) == pytest.approx({2: 3.0, 3: 3.0, 7: 1.0})
    assert means(1.0, 2.0, window=3) == {}
    assert means(1.0, 2.0, window=1) == {1: 1.0, 2: 2.0}


def test_a_single_spike_does_not_flatten_the_axis_and_is_named() -> None:
    """98 % of the 61 values end at the 59th, and the axis a tenth above it."""
    calm = [0.001 * step for step in range(60)]
    values = {"policy__entropy": [*calm, 0.06], "policy__kl": [*calm, 1.5]}
    values |= {"policy__clip_fraction": [*([0.001, 0.002] * 30), 0.5], "language__foreign_share": [*([0.0] * 60), 0.5]}
    figure = curves.policy_figure(of_runs(run_of(seed=0, **values)))
    ends = [None, pytest.approx((-0.0058, 0.0638)), pytest.approx((0.0009, 0.0021)), None]  # nothing but 0 is usual in the last
    assert [panel.y_range for panel in figure.panels] == ends
    kl = "The axis of “KL to the vanilla model” ends at 0.064, as 98 % of the values lie below; the highest is 1.5."
    clipped = "The axis of “Clipped tokens” ends at 0.21, as 98 % of the values lie below; the highest is 50."
    assert f"{kl} {clipped}" in figure.caption and figure.caption.count("The axis of") == 2
    assert [panel.lines[0].by_seed[0].max() for panel in figure.panels] == [0.06, 1.5, 0.5, 0.5]  # no number is changed


STEPS = 18  # a sixth is 3


def test_the_pass_at_k_curve_is_the_unbiased_one_at_the_epoch_that_validation_picks(fake_records: Records) -> None:
    assert accuracy_curves.most_sampled(fake_records) == "pass@8_t1.0"
    val, test = pass_at_figure(fake_records, endpoint=ENDPOINT).panels
    labels = [line.label for line in test.lines]
    assert (val.title, test.title, test.band, *labels) == ("val", "test", TWO_WAY, "reinforce_pp", "sft", "Vanilla")
    picks = {"reinforce_pp": 2, "sft": 1}  # under pass@1_t0.6, for every seed
    for arm, line in zip(fake_records.trained, test.lines, strict=False):
        for run in arm.runs:
            num_correct = run.evaluations[picks[arm.label], "test", "pass@8_t1.0"].num_correct
            curve = pass_at_1_to_k(num_correct, num_samples=8, k=8).mean(axis=0)
            np.testing.assert_allclose(line.by_seed[run.run.seed], curve)
    mean, (low, high) = test.lines[0].mean(), test.lines[0].band()
    assert ((low <= mean) & (mean <= high)).all() and low[0] < mean[0] < high[0]


def with_evaluation(records: Records, found: Evaluation | None) -> Records:
    """Seed 2 of the first arm has another evaluation at epoch 1, or none."""
    arm, place = records.trained[0], (1, "val", "pass@1_t0.6")
    others = {key: one for key, one in arm.runs[2].evaluations.items() if key != place}
    changed = replace(arm.runs[2], evaluations=others | ({place: found} if found else {}))
    return replace(records, arms=(replace(arm, runs=(*arm.runs[:2], changed)),))


def test_the_band_of_fig_5_is_two_way_and_wants_the_same_questions_of_every_seed(fake_records: Records, tmp_path: Path) -> None:
    panel = accuracy_figure(fake_records).panels[1]
    assert panel.band == panel.as_json()["band"] == TWO_WAY
    rows = [[run.evaluations[epoch, "val", "pass@1_t0.6"] for run in fake_records.trained[0].runs] for epoch in range(3)]
    band = accuracy_curves.two_way_band(rows, num_seeds=3)
    np.testing.assert_array_equal(panel.lines[0].band(), band)
    assert band[1, 0] - band[0, 0] > 2 * stats.sem([one.accuracy() for one in rows[0]])  # questions add to what seeds do
    other = records_of(write_study(tmp_path / "t", seeds=(0,), epochs=1, questions=10))
    changes = (None, [False, True, False]), (other.trained[0].runs[0].evaluations[1, "val", "pass@1_t0.6"], [True] * 3)
    for found, missing in changes:
        (line,) = accuracy_figure(with_evaluation(fake_records, found)).panels[1].lines
        assert np.isnan(line.band()).tolist() == [missing, missing]
    assert np.isnan(accuracy_figure(other).panels[1].lines[0].band()).all()  # a single seed


def test_aggregates_are_rliables_shape_of_runs_by_kinds(fake_records: Records) -> None:
    row, _ = aggregate_table(fake_records, endpoint=ENDPOINT).rows
    found = [run.evaluations[2, "test", "pass@1_t0.6"] for run in fake_records.trained[0].runs]  # picked for every seed
    kinds = np.array(found[0].questions.kind)
    matrix = [[evaluation.scores()[kinds == kind].mean() for kind in sorted(set(kinds))] for evaluation in found]
    iqm, low, high = ends(row["iqm"])
    assert low < iqm < high and iqm == pytest.approx(stats.trim_mean(np.ravel(matrix), 0.25))
    better, low, high = ends(row["improvement"])
    assert 0.5 < low <= better <= high <= 1
    assert aggregate_table(fake_records, endpoint=ENDPOINT).rows[0]["iqm"] == row["iqm"]  # again


def trained(label: str, *, low: float) -> Arm:
    """Each of two seeds rises by a point a step, seed s from `low` + 2 s points."""
    by_seed = [[low + 0.02 * seed + 0.01 * step for step in range(STEPS)] for seed in range(2)]
    runs = tuple(run_of(seed=seed, algorithm=label, train__accuracy=curve) for seed, curve in enumerate(by_seed))
    return Arm(label=label, runs=runs)


SILENT = Arm(label="sft", runs=(run_of(seed=0, algorithm="sft", train__loss=[0.0] * STEPS),))
THREE = Records(arms=(trained("a", low=0.1), trained("b", low=0.3), trained("c", low=0.5), SILENT), problems=())


def test_each_arm_has_a_panel_with_its_seeds_and_the_means_of_the_others_behind_it() -> None:
    figure = training_one_by_one(THREE)
    labels = [(panel.title, *(line.label for line in (*panel.lines, *panel.behind))) for panel in figure.panels]
    assert labels == [("a", "a", "b", "c"), ("b", "b", "a", "c"), ("c", "c", "a", "b")]
    (line,) = figure.panels[1].lines
    np.testing.assert_array_equal(line.x, np.arange(2, STEPS))  # whole windows: steps 2 to 17
    np.testing.assert_allclose(line.mean()[[0, -1]], [0.32, 0.47])  # 0.3 and 0.32 at the start; a point more a step
    np.testing.assert_allclose(line.spread(), 0.02 / np.sqrt(2))
    assert "the mean over the 3 steps around it" in figure.caption and BAND in figure.caption
    assert "Without training accuracy of their own responses: sft; see the next figure." in figure.caption
    numbers = [panel.as_json() for panel in figure.panels]
    assert [[line["arm"] for line in panel["lines"]] for panel in numbers] == [["a"], ["b"], ["c"]]  # none is written twice
    json.dumps(numbers, allow_nan=False)


def test_all_panels_have_the_same_axes_that_show_every_seed_and_band() -> None:
    limits = set()
    for panel in training_one_by_one(THREE).panels:
        axes = Canvas().subplots()
        draw_panel(axes, panel=panel)
        limits.add((axes.get_xlim(), axes.get_ylim()))
    ((_, ends),) = limits
    lowest, highest = 100 * (0.12 - 0.02 / np.sqrt(2)), 100 * (0.67 + 0.02 / np.sqrt(2))  # bands of the first and the last arm
    np.testing.assert_allclose(ends, [lowest - 0.03 * (highest - lowest), highest + 0.03 * (highest - lowest)])


def test_fig_5_begins_at_the_vanilla_model(tmp_path: Path) -> None:
    (panel,) = accuracy_figure(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).panels
    (line,) = panel.lines
    np.testing.assert_allclose([line.x, line.mean()], [[0, 1, 2, 3], [0.4, 0.6, 0.7, 0.8]])
    assert (line.spread()[0], panel.baseline, panel.x_label) == (pytest.approx(0.1), pytest.approx(0.4), "epoch")


def test_fig_4_holds_the_panels_of_the_paper_and_the_words_that_change_most(fake_records: Records) -> None:
    panels = curves.dynamics_figure(fake_records).panels
    ratios = ["reflection_ratio", "correct_ratio_in_reflection_texts"]
    assert [panel.title for panel in panels] == ["Training accuracy", "Response length", *ratios, "“verify”", "“wait”"]
    accuracy, _, _, ratio, *_ = (panel.lines[0] for panel in panels)
    assert (accuracy.x.tolist(), ratio.x.size, np.isfinite(ratio.mean()).all()) == ([1, 2], 8, True)
    assert curves.changing_words(fake_records, count=1) == ["reflection/word/verify"]
