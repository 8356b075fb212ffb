"""What is called Vanilla: each model apart, each of its seeds once, and nothing that evaluate.py showed something else."""

from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_evaluation, write_manifest
from hand_runs import ENDPOINT, SETTING, VANILLA, estimate

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.figures.accuracy_curves import accuracy_figure, pass_at_figure
from vlm_rl.reports.reading.arms import Records, untrained_models
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.accuracy_tables import pass_at_table
from vlm_rl.reports.tables.control_tables import control_table
from vlm_rl.reports.tables.table import Cell
from vlm_rl.reports.tables.table_3 import table3_table


def evaluate(run: Path, *, epoch: int, right: int) -> None:
    """Two samples of each of ten questions, on val."""
    write_evaluation(run, epoch=epoch, split="val", setting=SETTING, outcome=lambda q, s: q < right, questions=10, samples=2)


def write_model(study: Path, *, variant: str, model: str, right: int, seeds: int = 2, vanilla: str = VANILLA) -> Path:
    """An arm whose untrained model answers `right` of ten questions, and half of them after an epoch."""
    config: dict[str, Any] = {"model": {"name": model}, "dataset": {"name": "triangles"}}
    for seed in range(seeds):
        before, after = study / vanilla / f"seed-{seed}", study / variant / f"seed-{seed}"
        write_manifest(before, algorithm="vanilla", seed=seed, arm="0" * 16, vanilla=None, config=config)
        arm = variant.encode().hex().ljust(16, "f")
        write_manifest(after, algorithm=variant, seed=seed, arm=arm, vanilla=vanilla, config=config)
        evaluate(before, epoch=0, right=right)
        evaluate(after, epoch=1, right=5)
    return study


def read(*studies: Path) -> Records:
    return read_records(find_runs(studies), reflection=None)


def level(cell: Cell) -> tuple[float, int]:
    """Estimate and seeds."""
    assert isinstance(cell, Interval)
    return pytest.approx(cell.estimate), cell.num_seeds


def at_first(records: Records) -> dict[object, tuple[float, int]]:
    """pass@1 and seeds of each row of the table of pass@k."""
    return {row["arm"]: level(row["pass@1"]) for row in pass_at_table(records, endpoint=ENDPOINT).rows}


def vanilla_of_table_3(records: Records) -> list[tuple[float, int]]:
    return [level(row["vanilla"]) for row in table3_table(records).rows]


def test_two_models_are_never_averaged(tmp_path: Path) -> None:
    good = write_model(tmp_path / "a", variant="grpo", model="large", right=10)
    bad = write_model(tmp_path / "b", variant="rloo", model="small", right=0)
    records = read(good, bad)
    large, small = "Vanilla (triangles, large)", "Vanilla (triangles, small)"
    assert [model.label for model in untrained_models(records)] == [large, small]
    assert at_first(records) == {large: (1.0, 2), small: (0.0, 2), "grpo": (0.5, 2), "rloo": (0.5, 2)}
    assert {row["model"]: level(row["vanilla"]) for row in table3_table(records).rows} == {"large": (1.0, 2), "small": (0.0, 2)}
    controls = [row for row in control_table(records, endpoint=ENDPOINT).rows if row["modality"] == "anywhere"]
    intact = {row["model"]: estimate(row["intact"]) for row in controls}
    assert (intact[large], intact[small]) == (1.0, 0.0)
    figure = accuracy_figure(records)
    assert figure.panels[0].baseline is None  # no line for both
    assert "each has its own epoch 0" in figure.caption
    lines = [
        (line.label, len(line.by_seed), line.mean()[0]) for line in pass_at_figure(records, endpoint=ENDPOINT).panels[0].lines
    ]
    assert lines == [("grpo", 2, 0.5), ("rloo", 2, 0.5), (large, 2, 1.0), (small, 2, 0.0)]


def test_a_model_that_two_studies_share_counts_each_seed_once(tmp_path: Path) -> None:
    arms = {"a": "grpo", "b": "rloo"}
    records = read(*(write_model(tmp_path / study, variant=arm, model="tiny", right=4, seeds=4) for study, arm in arms.items()))
    assert at_first(records)["Vanilla"] == (0.4, 4)
    assert vanilla_of_table_3(records) == [(0.4, 4)]
    assert accuracy_figure(records).panels[0].baseline == pytest.approx(0.4)
    first, *_ = control_table(records, endpoint=ENDPOINT).rows
    assert (first["model"], first["seeds"]) == ("Vanilla", 4)


def test_one_model_that_was_evaluated_in_two_ways_has_two_rows(tmp_path: Path) -> None:
    write_model(tmp_path / "s", variant="grpo", model="tiny", right=4)
    records = read(write_model(tmp_path / "s", variant="rloo", model="tiny", right=6, vanilla="vanilla-ffffffff"))
    labels = [f"Vanilla (triangles, tiny, {name})" for name in (VANILLA, "vanilla-ffffffff")]
    assert [model.label for model in untrained_models(records)] == labels
    assert vanilla_of_table_3(records) == [(0.4, 2), (0.6, 2)]
    means = [{"grpo_mean", "rloo_mean"} & row.keys() for row in table3_table(records).rows]
    assert means == [{"grpo_mean"}, {"rloo_mean"}]


def test_what_an_untrained_model_answers_to_blank_sheets_is_not_vanilla(tmp_path: Path) -> None:
    study = write_model(tmp_path / "s", variant="grpo", model="tiny", right=4)
    blind = tmp_path / "evaluate" / "tiny-blank" / "seed-0"
    image = {"_target_": "vlm_rl.evaluation.image_control.Blank"}
    config = {"evaluation": {"image": image, "scheme": {"image": image}}}
    write_manifest(blind, algorithm="evaluated", seed=0, arm="e" * 16, vanilla=None, config=config)
    evaluate(blind, epoch=0, right=0)
    records = read(study, blind)
    assert at_first(records) == {"Vanilla": (0.4, 2), "grpo": (0.5, 2), "evaluated, blank": (0.0, 1)}
    assert accuracy_figure(records).panels[0].baseline == pytest.approx(0.4)
    assert at_first(read(study / VANILLA)) == {"Vanilla": (0.4, 2)}  # without any training it is all there is
