"""How models answer val and test, by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import sample_row, write_manifest, write_rows
from hand_runs import ENDPOINT, SETTING, VANILLA, records_of
from test_training import FOUR

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour, evaluation_behaviour_table
from vlm_rl.reports.tables.table import Cell

SAMPLES = 5  # of each text


def estimate(cell: Cell) -> float:
    assert isinstance(cell, Interval)
    return cell.estimate


def write(run: Path, *, epoch: int, rights: int) -> None:
    """Val and test alike: the four texts of test_training.py, each in five samples, the first `rights` of them right."""
    for split in ("val", "test"):
        where = {"split": split, "setting": SETTING, "epoch": epoch}
        rows = [
            sample_row(**(where | row | {"sample": sample, "correct": place < rights}))
            for place, row in enumerate(FOUR)
            for sample in range(SAMPLES)
        ]
        write_rows(run / "evaluations" / f"epoch-{epoch:04d}" / f"{split}_{SETTING}.parquet", rows=rows)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two seeds whose validation picks epoch 1 of 2."""
    for seed in (0, 1):
        vanilla, run = (tmp_path / "s" / variant / f"seed-{seed}" for variant in (VANILLA, "algorithm-sft"))
        write_manifest(vanilla, algorithm="vanilla", seed=seed, arm="0" * 16, vanilla=None)
        write_manifest(run, algorithm="sft", seed=seed, arm="b" * 16, vanilla=VANILLA)
        for folder, epoch, rights in ((vanilla, 0, 1), (run, 1, 3), (run, 2, 2)):
            write(folder, epoch=epoch, rights=rights)
    return tmp_path / "s"


def test_each_run_is_read_untrained_picked_and_last(study: Path) -> None:
    measured = evaluation_behaviour(records_of(study), endpoint=ENDPOINT)
    assert [(one.stage, one.epoch) for one in measured if (one.seed, one.split) == (0, "val")] == [
        ("untrained", 0),
        ("picked", 1),
        ("last", 2),
    ]
    texts = measured[0].texts
    assert (texts.reflection.num_responses, texts.reflection.num_reflective, texts.reflection.num_reflective_correct) == (
        4 * SAMPLES,
        2 * SAMPLES,
        1 * SAMPLES,
    )
    assert (texts.lengths.num_truncated, texts.lengths.tokens_truncated) == (1 * SAMPLES, 20 * SAMPLES)
    assert texts.foreign_share == pytest.approx((2 / 6) / 4)


def test_the_table_averages_over_seeds(study: Path) -> None:
    measured = evaluation_behaviour(records_of(study), endpoint=ENDPOINT)
    rows = evaluation_behaviour_table(measured, endpoint=ENDPOINT).rows
    assert [(row["split"], row["stage"], row["seeds"]) for row in rows] == [
        (split, stage, 2) for split in ("val", "test") for stage in ("untrained", "picked by validation", "last")
    ]
    first = rows[0]
    assert estimate(first["reflection_ratio"]) == 0.5
    assert first["reflective"] == 2 * 2 * SAMPLES
    assert estimate(first["length"]) == 30.0
    assert estimate(first["truncated"]) == 0.25
    assert estimate(first["correct_ratio_in_reflection_texts"]) == 0.5  # the first of two
    assert estimate(rows[1]["correct_ratio_in_no_reflection_texts"]) == 0.5  # three right: the second, not the fourth


def test_a_handful_of_reflective_responses_makes_no_share(study: Path) -> None:
    """Both seeds: five samples each of two texts that reflect are 20, one less are too few."""
    measured = evaluation_behaviour(records_of(study), endpoint=ENDPOINT)
    one_less = replace(measured[0].texts.reflection, num_reflective=9, num_reflective_correct=5)
    fewer = (replace(measured[0], texts=replace(measured[0].texts, reflection=one_less)), *measured[1:])
    first, second = (evaluation_behaviour_table(behaviours, endpoint=ENDPOINT).rows[0] for behaviours in (measured, fewer))
    assert (first["reflective"], second["reflective"]) == (20, 19)
    assert not math.isnan(estimate(first["correct_ratio_in_reflection_texts"]))
    assert math.isnan(estimate(second["correct_ratio_in_reflection_texts"]))
    assert not math.isnan(estimate(second["correct_ratio_in_no_reflection_texts"]))


def test_a_study_without_evaluations_has_no_rows(tmp_path: Path) -> None:
    write_manifest(tmp_path / "s" / "v" / "seed-0", algorithm="grpo", seed=0, arm="a", vanilla=None)
    assert evaluation_behaviour(records_of(tmp_path / "s"), endpoint=ENDPOINT) == ()
