from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_completions, write_manifest, write_study
from hand_runs import BY_HAND, ENDPOINT, estimate, records_of, write_by_hand
from usual import usual_settings

from vlm_rl.evaluation.kpi import UncheckedShare
from vlm_rl.evaluation.reflection import WholeWords
from vlm_rl.reports.composition import content_of
from vlm_rl.reports.figures.accuracy_curves import accuracy_figure
from vlm_rl.reports.figures.curves import changing_words, dynamics_figure
from vlm_rl.reports.reading.records import arm_labels, read_records
from vlm_rl.reports.reading.runs import find_runs, read_run
from vlm_rl.reports.tables.accuracy_tables import accuracy_table
from vlm_rl.reports.tables.gain_tables import gain_split_table, gain_table
from vlm_rl.reports.tables.kpi_tables import kpi_correlation_table, kpi_table
from vlm_rl.reports.tables.run_tables import run_table


def test_an_arm_without_an_untrained_model_has_no_gain(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4, ("grpo", 1, 1): 6}, vanilla=None))
    assert gain_table(records, endpoint=ENDPOINT).rows == gain_split_table(records, endpoint=ENDPOINT).rows == ()
    assert estimate(accuracy_table(records, endpoint=ENDPOINT).rows[0]["last"]) == pytest.approx(0.5)


def test_unfinished_runs_are_listed_and_left_out_of_means(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={key: count for key, count in BY_HAND.items() if key[1] < 2})
    write_by_hand(study, right={("grpo", 2, 1): 0}, status="running")
    records = records_of(study)
    (row,) = accuracy_table(records, endpoint=ENDPOINT).rows
    assert (row["seeds"], row["last_epoch"]) == (2, 3)
    assert {row["run"]: row["status"] for row in run_table(records).rows}["s/grpo/seed-2"] == "unfinished, left out"


def test_labels_are_as_short_as_they_tell_arms_apart(tmp_path: Path) -> None:
    arms = {"a/x": "sft", "a/x2": "grpo", "a/y": "grpo", "b/y": "grpo"}
    for place, (variant, algorithm) in enumerate(arms.items()):
        write_manifest(tmp_path / variant / "seed-0", algorithm=algorithm, seed=0, arm=str(place) * 16, vanilla=None)
    runs = [read_run(tmp_path / variant / "seed-0") for variant in arms]
    assert arm_labels(runs) == ["sft", "grpo (x2)", "grpo (a/y)", "grpo (b/y)"]


def test_fig_5_begins_at_the_untrained_model(tmp_path: Path) -> None:
    (panel,) = accuracy_figure(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).panels
    (line,) = panel.lines
    np.testing.assert_allclose(line.x, [0, 1, 2, 3])
    np.testing.assert_allclose(line.mean(), [0.4, 0.6, 0.7, 0.8])
    np.testing.assert_allclose(line.spread()[0], 0.1)
    assert panel.baseline == pytest.approx(0.4)
    assert panel.x_label == "epoch"


def test_fig_4_holds_the_panels_of_the_paper_and_the_words_that_change_most(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=4))
    assert [panel.title for panel in dynamics_figure(records).panels] == [
        "Training accuracy",
        "Response length",
        "reflection_ratio",
        "correct_ratio_in_reflection_texts",
        "“verify”",
        "“wait”",
    ]
    accuracy, _, _, ratio, *_ = dynamics_figure(records).panels
    np.testing.assert_allclose(accuracy.lines[0].x, [1, 2, 3, 4])
    assert np.isfinite(ratio.lines[0].mean()).all()
    assert ratio.lines[0].x.size == 15
    assert changing_words(records, count=1) == ["reflection/word/verify"]


def test_other_reflection_words_are_counted_in_the_completions(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", seeds=(0,), epochs=1, questions=2)
    rows = [
        {"number": 0, "correct": True, "response": "Hmm, hmm. So 3."},
        {"number": 1, "correct": False, "response": "Wait. 4"},
    ]
    write_completions(study / "default" / "seed-0", step=1, rows=rows)
    records = read_records(find_runs([study / "default"]), reflection=WholeWords(words=["hmm"]))
    first, second, *_ = records.arms[0].runs[0].training
    assert first["reflection/word/hmm"] == 2
    assert first["reflection/correct_ratio_in_reflection_texts"] == 1.0
    assert "reflection/word/wait" not in first
    assert not any(key.startswith("reflection/") for key in second)


def test_what_is_seldom_read_stands_in_the_appendix_with_the_correlations_of_key_figures(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", questions=6))
    kpis = [UncheckedShare(confidence=0.9, threshold=0.5)]
    *_, runs, appendix = content_of(records, settings=usual_settings(kpis=kpis)).sections
    assert (runs.name, appendix.name, appendix.title) == ("runs", "appendix", "Appendix")
    expected = ["seed_sensitivity_of_length", "aggregates", "bottleneck", "behaviour_correlations"]
    assert [table.name for table in appendix.tables] == [*expected, "kpi_correlations"]
    keys = ["kpi", "arm", "seeds", "with_accuracy", "with_length", "with_reflection"]
    assert [column.key for column in appendix.tables[-1].columns] == keys
    for most, is_left_out in ((575, True), (576, False)):  # 2 arms x 3 seeds x 4 epochs x 6 questions x 4 samples
        table = kpi_table(records, kpis=kpis, endpoint=ENDPOINT, most_samples=most)
        assert not [column.key for column in table.columns if column.key.startswith("with_")]
        assert ("left out: 576 stored samples on val are too many" in table.note) is is_left_out
        shown = kpi_correlation_table(table, records=records, endpoint=ENDPOINT, most_samples=most)
        assert "Correlations: Spearman over the epochs of each seed on val" in shown.note
        expected_rows = [] if is_left_out else [{key: row[key] for key in keys} for row in table.rows]
        assert str(list(shown.rows)) == str(expected_rows) and len(table.rows) == 2
