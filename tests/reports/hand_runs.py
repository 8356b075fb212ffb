"""Runs whose right answers are given one by one, so that every table can be worked out by hand."""

from pathlib import Path
from typing import Any

from fake_runs import write_evaluation, write_manifest

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.table import Cell, Row

ENDPOINT = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
SETTING = "pass@1_t0.6"
VANILLA = "vanilla-1a2b3c4d"
Right = dict[tuple[str, int, int], int]  # by variant, seed and epoch


def records_of(study: Path) -> Records:
    return read_records(find_runs([study]), reflection=None)


def estimate(cell: Cell) -> float:
    assert isinstance(cell, Interval)
    return cell.estimate


def estimates(row: Row, *keys: str) -> list[float]:
    """The means over seeds in some columns."""
    return [estimate(row[key]) for key in keys]


def ends(cell: Cell) -> tuple[float, float, float]:
    assert isinstance(cell, Interval)
    return cell.estimate, cell.low, cell.high


def cells_of(row: Row, *keys: str) -> tuple[Cell, ...]:
    return tuple(row[key] for key in keys)


def write_by_hand(
    study: Path,
    *,
    right: Right,
    split: str = "val",
    vanilla: str | None = VANILLA,
    row: dict[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """Runs whose number of right answers of ten questions, one sample each, is given by (variant, seed, epoch).

    `row` changes what the evaluations hold, everything else what the manifests say.
    """
    for (variant, seed, epoch), count in right.items():
        run = study / variant / f"seed-{seed}"
        is_vanilla = variant == VANILLA
        algorithm, arm = ("vanilla", "0" * 16) if is_vanilla else (variant, variant.encode().hex().ljust(16, "f"))
        if not (run / "manifest.json").exists():
            write_manifest(run, algorithm=algorithm, seed=seed, arm=arm, vanilla=None if is_vanilla else vanilla, **manifest)
        asked = {"epoch": epoch, "split": split, "setting": SETTING, "questions": 10, "samples": 1} | (row or {})
        write_evaluation(run, outcome=lambda q, s, count=count: q < count, **asked)
    return study


BY_HAND = {(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 5, (VANILLA, 2, 0): 3} | {
    ("grpo", seed, epoch): count
    for seed, counts in {0: (6, 8, 7), 1: (5, 7, 9), 2: (7, 6, 8)}.items()
    for epoch, count in enumerate(counts, start=1)
}
