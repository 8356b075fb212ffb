"""What is called Vanilla: each model apart, each of its seeds once, and nothing that evaluate.py showed something else."""

from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_evaluation, write_manifest
from hand_runs import ENDPOINT, SETTING, VANILLA

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.figures.accuracy_curves import accuracy_figure, pass_at_figure
from vlm_rl.reports.reading.arms import Records
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
    """An arm whose vanilla model answers `right` of ten questions, and half of them after an epoch."""
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
    return round(cell.estimate, 9), cell.num_seeds


def shown(records: Records) -> tuple[Any, ...]:
    """Where Vanilla stands: pass@1 of each row, Vanilla and arms in each row of table 3, intact figures, the line in the figure."""
    rows, controls = table3_table(records).rows, control_table(records, endpoint=ENDPOINT).rows
    at_first = {row["arm"]: level(row["pass@1"]) for row in pass_at_table(records, endpoint=ENDPOINT).rows}
    intact = {row["model"]: level(row["intact"]) for row in controls if row["modality"] == "anywhere"}
    of_table_3 = [(*level(row["vanilla"]), *sorted(key[:-5] for key in row if key.endswith("_mean"))) for row in rows]
    return at_first, intact, of_table_3, [panel.baseline for panel in accuracy_figure(records).panels[:1]]


def test_two_models_are_never_averaged(tmp_path: Path) -> None:
    good = write_model(tmp_path / "a", variant="grpo", model="large", right=10)
    bad = write_model(tmp_path / "b", variant="rloo", model="small", right=0)
    records = read(good, bad)
    large, small = "Vanilla (triangles, large)", "Vanilla (triangles, small)"
    of_each = {large: (1.0, 2), small: (0.0, 2), "grpo": (0.5, 2), "rloo": (0.5, 2)}
    assert shown(records) == (of_each, of_each, [(1.0, 2, "grpo"), (0.0, 2, "rloo")], [None])  # no line for both
    assert "each has its own epoch 0" in accuracy_figure(records).caption
    lines = pass_at_figure(records, endpoint=ENDPOINT).panels[0].lines
    found = [(line.label, len(line.by_seed), line.mean()[0]) for line in lines]
    assert found == [("grpo", 2, 0.5), ("rloo", 2, 0.5), (large, 2, 1.0), (small, 2, 0.0)]


def test_a_model_that_two_studies_share_counts_each_seed_once(tmp_path: Path) -> None:
    arms = {"a": "grpo", "b": "rloo"}
    records = read(*(write_model(tmp_path / study, variant=arm, model="tiny", right=4, seeds=4) for study, arm in arms.items()))
    of_each = {"Vanilla": (0.4, 4), "grpo": (0.5, 4), "rloo": (0.5, 4)}
    assert shown(records) == (of_each, of_each, [(0.4, 4, "grpo", "rloo")], [pytest.approx(0.4)])


def test_one_model_that_was_evaluated_in_two_ways_has_two_rows(tmp_path: Path) -> None:
    write_model(tmp_path / "s", variant="grpo", model="tiny", right=4)
    records = read(write_model(tmp_path / "s", variant="rloo", model="tiny", right=6, vanilla="vanilla-ffffffff"))
    first, second = (f"Vanilla (triangles, tiny, {name})" for name in (VANILLA, "vanilla-ffffffff"))
    of_each = {first: (0.4, 2), second: (0.6, 2), "grpo": (0.5, 2), "rloo": (0.5, 2)}
    assert shown(records) == (of_each, of_each, [(0.4, 2, "grpo"), (0.6, 2, "rloo")], [None])


def test_what_a_vanilla_model_answers_to_blank_sheets_is_not_vanilla(tmp_path: Path) -> None:
    study = write_model(tmp_path / "s", variant="grpo", model="tiny", right=4)
    blind = tmp_path / "evaluate" / "tiny-blank" / "seed-0"
    image = {"_target_": "vlm_rl.evaluation.image_control.Blank"}
    config = {"evaluation": {"image": image, "scheme": {"image": image}}}
    write_manifest(blind, algorithm="evaluated", seed=0, arm="e" * 16, vanilla=None, config=config)
    evaluate(blind, epoch=0, right=0)
    of_each = {"Vanilla": (0.4, 2), "grpo": (0.5, 2)}
    at_first = of_each | {"evaluated, blank": (0.0, 1)}
    assert shown(read(study, blind)) == (at_first, of_each, [(0.4, 2, "grpo")], [pytest.approx(0.4)])
    assert shown(read(study / VANILLA))[0] == {"Vanilla": (0.4, 2)}  # without any training it is all there is
