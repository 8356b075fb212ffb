import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fake_runs import SETTINGS, write_evaluation, write_manifest
from hand_training import records_of, run_of
from scipy import stats

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k
from vlm_rl.reports.figures.behaviour_curves import (
    length_figure,
    most_sampled,
    pass_at_figure,
    policy_figure,
    reflection_figure,
    words_figure,
)
from vlm_rl.reports.figures.curves import accuracy_figure
from vlm_rl.reports.figures.drawing import compact_svg, draw_panel, panel_svg, write_figure, write_forest
from vlm_rl.reports.figures.panels import BAND, TWO_WAY, Figure, Line, Panel, accuracy_band
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.gain_tables import aggregate_table
from vlm_rl.reports.tables.table import Interval

ENDPOINT = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")


def write_judged(study: Path, *, seeds: int, questions: int = 12, gain: float = 0.3) -> Records:
    """One arm and its untrained model on val and test; at epoch 1 of 2 the arm is best on val."""
    for seed in range(seeds):
        for variant, epochs in (("vanilla", {0: 0.0}), ("grpo", {1: gain, 2: gain / 2})):
            run = study / variant / f"seed-{seed}"
            write_manifest(
                run, algorithm=variant, seed=seed, arm=variant[0] * 16, vanilla=None if variant == "vanilla" else "vanilla"
            )
            for epoch, more in epochs.items():
                right = np.random.default_rng([seed, epoch]).random((questions, 8)) < 0.4 + more
                for split in ("val", "test"):
                    for setting, samples in SETTINGS.items():
                        write_evaluation(
                            run,
                            epoch=epoch,
                            split=split,
                            setting=setting,
                            outcome=lambda q, s, right=right: bool(right[q, s]),
                            questions=questions,
                            samples=samples,
                        )
    return read_records(find_runs([study]), reflection=None)


def long_panel(*, arms: int = 4, seeds: int = 5, steps: int = 150) -> Panel:
    generator, x = np.random.default_rng(0), np.arange(1.0, steps + 1)
    lines = [
        Line(
            label=f"arm {arm}",
            color=arm,
            x=x,
            by_seed={seed: 100 + generator.normal(0, 6, steps) for seed in range(seeds)},
            unfinished={},
        )
        for arm in range(arms)
    ]
    return Panel(title="Response length", x_label="generation steps", y_label="tokens", lines=tuple(lines))


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
    length, *ratios = reflection_figure(records_of(run)).panels
    assert length.title == "Response length"
    assert [panel.title for panel in ratios] == [  # no wrong answer ever: nothing to divide by
        "reflection_ratio",
        "reflection_ratio_in_correct_answers",
        "correct_ratio_in_reflection_texts",
        "correct_ratio_in_no_reflection_texts",
    ]
    assert ratios[2].lines[0].x.tolist() == [2.0]
    assert not reflection_figure(records_of(run_of(seed=0, response_length__mean=[20.0]))).panels


def test_words_that_never_occur_share_one_sentence() -> None:
    run = run_of(seed=0, reflection__word__wait=[0, 2], reflection__word__check_again=[0, 0], reflection__word__yet=[0, 0])
    figure = words_figure(records_of(run))
    assert [panel.title for panel in figure.panels] == ["“wait”"]
    assert "Never in any run: “check again”, “yet”." in figure.caption


def test_a_dollar_in_a_word_or_a_label_is_a_dollar(tmp_path: Path) -> None:
    figure = words_figure(records_of(run_of(seed=0, **{r"reflection__word__$\frac$": [1, 2]})))
    (panel,) = figure.panels
    assert panel.title == r"“$\frac$”"
    assert r"$\frac$" in panel_svg(panel)
    write_figure(figure, folder=tmp_path)
    row = ForestRow(label=r"$\frac$", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.1,))
    forest = Forest(title=say("t"), delta=0.02, rows=(row,))
    assert all(path.stat().st_size for path in write_forest(forest, folder=tmp_path))


def test_panels_of_length_and_policy_are_those_that_have_values() -> None:
    run = run_of(
        seed=0, response_length__mean=[1.0], response_length__truncated=[0.5], policy__kl=[0.1], language__foreign_share=[0]
    )
    assert [panel.title for panel in length_figure(records_of(run)).panels] == ["All responses", "Share cut off"]
    assert [panel.title for panel in policy_figure(records_of(run)).panels] == ["KL to the untrained model", "Language drift"]


def test_the_pass_at_k_curve_is_the_unbiased_one_at_the_epoch_that_validation_picks(tmp_path: Path) -> None:
    records = write_judged(tmp_path / "s", seeds=3)
    assert most_sampled(records) == "pass@8_t1.0"
    val, test = pass_at_figure(records, endpoint=ENDPOINT).panels
    assert (val.title, test.title, test.band) == ("val", "test", TWO_WAY)
    trained, untrained = test.lines
    assert (trained.label, untrained.label) == ("grpo", "Vanilla")
    picked = records.trained[0].runs[1].evaluations[1, "test", "pass@8_t1.0"]  # epoch 1: better on val
    np.testing.assert_allclose(trained.by_seed[1], pass_at_1_to_k(picked.num_correct, num_samples=8, k=8).mean(axis=0))
    low, high = trained.band()
    assert (low <= trained.mean()).all()
    assert low[0] < trained.mean()[0] < high[0]
    assert (high >= trained.mean()).all()


def test_the_band_of_fig_5_is_two_way_and_wants_the_same_questions_of_every_seed(tmp_path: Path) -> None:
    records = write_judged(tmp_path / "s", seeds=3)
    panel = accuracy_figure(records).panels[1]
    (line,) = panel.lines
    assert panel.band == TWO_WAY
    assert panel.as_json()["band"] == TWO_WAY
    rows = [[run.evaluations[int(epoch), "val", "pass@1_t0.6"] for run in records.trained[0].runs] for epoch in line.x]
    low, high = accuracy_band(rows)
    np.testing.assert_array_equal(line.band(), (low, high))
    seed_means = [evaluation.accuracy() for evaluation in rows[0]]
    assert high[0] - low[0] > 2 * stats.sem(seed_means)  # questions add to what seeds do
    without = [[*rows[0][:2], None], *rows[1:]]
    assert np.isnan(accuracy_band(without)[0]).tolist() == [True, False, False]
    others = write_judged(tmp_path / "t", seeds=3, questions=10).trained[0].runs[0].evaluations[1, "val", "pass@1_t0.6"]
    assert np.isnan(accuracy_band([[*rows[0][:2], others], *rows[1:]])[0]).all()


def test_a_single_spike_does_not_flatten_the_axis_and_is_named() -> None:
    """Sixty steps from 0 to 0.059 and one of 1.5: the axis ends a tenth above the second highest, 0.059 + 0.0059."""
    calm = [0.001 * step for step in range(60)]
    spiked = [*calm, 1.5]
    figure = policy_figure(records_of(run_of(seed=0, policy__kl=spiked, policy__entropy=[*calm, 0.06])))
    entropy, kl = figure.panels
    assert entropy.y_range is None
    assert kl.y_range == pytest.approx((-0.0058, 0.0638))  # 98 % of 61 values: the 59th, 0.058
    assert "The axis of “KL to the untrained model” ends at 0.064, as 98 % of the values lie below; the highest is 1.5." in (
        figure.caption
    )
    assert figure.caption.count("The axis of") == 1
    assert kl.lines[0].by_seed[0].max() == 1.5  # no number is changed
    canvas, axes = plt.subplots()
    draw_panel(axes, panel=kl)
    assert axes.get_ylim() == pytest.approx(kl.y_range)
    plt.close(canvas)


def test_an_axis_of_shares_ends_in_percent_and_one_without_a_usual_height_is_left_alone() -> None:
    clipped = policy_figure(records_of(run_of(seed=0, policy__clip_fraction=[*([0.001, 0.002] * 30), 0.5])))
    assert clipped.panels[0].y_range == pytest.approx((0.0009, 0.0021))
    assert "ends at 0.21" in clipped.caption and "the highest is 50." in clipped.caption
    flat = policy_figure(records_of(run_of(seed=0, language__foreign_share=[*([0.0] * 60), 0.5])))
    assert flat.panels[0].y_range is None


def test_other_curves_keep_the_spread_over_seeds() -> None:
    (panel,) = policy_figure(records_of(*(run_of(seed=seed, policy__kl=[0.1 * seed]) for seed in range(3)))).panels
    assert panel.band == BAND
    (low,), (high,) = panel.lines[0].band()
    assert (low, high) == pytest.approx((0.0, 0.2))


def test_aggregates_are_rliables_shape_of_runs_by_kinds_or_say_why_they_are_left_out(tmp_path: Path) -> None:
    records = write_judged(tmp_path / "s", seeds=3, questions=24)  # four kinds
    (row,) = aggregate_table(records, endpoint=ENDPOINT).rows
    assert (row["cells"], row["left_out"]) == (12, None)
    found = [run.evaluations[1, "test", "pass@1_t0.6"] for run in records.trained[0].runs]
    kinds = np.array(found[0].questions.kind)
    matrix = [[evaluation.scores()[kinds == kind].mean() for kind in sorted(set(kinds))] for evaluation in found]
    iqm, improvement = row["iqm"], row["improvement"]
    assert isinstance(iqm, Interval)
    assert isinstance(improvement, Interval)
    assert iqm.estimate == pytest.approx(stats.trim_mean(np.ravel(matrix), 0.25))
    assert iqm.low < iqm.estimate < iqm.high
    assert 0.5 < improvement.low <= improvement.estimate <= improvement.high <= 1
    (again,) = aggregate_table(records, endpoint=ENDPOINT).rows
    assert again["iqm"] == iqm
    (two,) = aggregate_table(write_judged(tmp_path / "t", seeds=2), endpoint=ENDPOINT).rows
    assert (two["cells"], two["left_out"]) == (8, "fewer than 12 cells")
    (one,) = aggregate_table(write_judged(tmp_path / "u", seeds=1), endpoint=ENDPOINT).rows
    assert one["left_out"] == "a single seed"


def test_a_panel_of_twenty_runs_stays_small() -> None:
    svg = panel_svg(long_panel())
    assert len(svg) < 60_000
    ET.fromstring(svg)
    assert "var(--arm-3)" in svg
    assert "currentColor" in svg


def test_compact_paths_draw_the_same_points_to_a_tenth() -> None:
    generator = np.random.default_rng(0)
    places = np.cumsum(generator.normal(0, 3, size=(400, 2)), axis=0) + 100
    path = "M " + " \nL ".join(f"{x:.6f} {y:.6f}" for x, y in places) + " \nz"
    svg = compact_svg(f'<?xml?><svg>\n<metadata>long</metadata><g id="a"><path d="{path}" style="fill: none"/></g></svg>')
    (written,) = re.findall(r'd="M([^"]*)z"', svg)
    numbers = [float(number) for number in re.findall(r"-?\d*\.?\d+", written)]
    np.testing.assert_allclose(np.cumsum(np.reshape(numbers, (-1, 2)), axis=0), places, atol=0.0501)  # no error adds up
    assert "metadata" not in svg
    assert svg.startswith("<svg><g><path d=")


def test_a_path_with_curves_keeps_its_numbers() -> None:
    assert 'd="M 0 1.25 C 0.7 1.1 1 1 1 0 z"' in compact_svg('<svg><path d="M 0 1.25 \nC 0.7 1.1 1 1 1 0 \nz\n"/></svg>')


def test_a_panel_speaks_the_language_that_it_is_given_without_a_warning() -> None:
    japanese = {"Response length": "応答の長さ", "generation steps": "生成ステップ", "tokens": "トークン"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = panel_svg(long_panel(arms=1, seeds=2, steps=5), translate=lambda text: japanese.get(text, text))
    assert all(text in svg for text in japanese.values())
    assert "generation steps" not in svg


def test_a_figure_is_written_as_png_and_pdf_with_its_legend(tmp_path: Path) -> None:
    panel = long_panel(arms=2, seeds=2, steps=5)
    figure = Figure(name="f", title="t", caption="c", panels=(panel, panel, panel), num_columns=2)
    paths = write_figure(figure, folder=tmp_path)
    assert [path.name for path in paths] == ["f.png", "f.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")
