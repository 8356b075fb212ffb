"""Arms side by side as Table 3 of the paper, beside the paper's numbers where the experiment is the paper's. Levels only, no verdicts."""

import functools
import math
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, VanillaModel, model_before, trial_of, vanilla_models
from vlm_rl.reports.reading.results import mean_accuracy
from vlm_rl.reports.reading.runs import INTACT, Run
from vlm_rl.reports.tables.table import Cell, Column, Row, Table, columns_of, table_of

CITATION = "Ma et al. 2025, arXiv 2504.02587v2, Table 3"
SETTINGS = ("pass@8_t1.0", "pass@1_t0.6", "pass@1_t0.01")
COLUMNS = ("vanilla", "sft_mean", "rl_mean", "sft_max", "rl_max")  # of paper_table_3.toml


def table3_table(records: Records) -> Table:
    """A row for each data, model, split and setting: Vanilla, then every arm's mean, then every arm's maximum over epochs."""
    arms = sorted(records.shown, key=lambda arm: arm.runs[0].run.role != "teacher")  # the paper's order: SFT before RL
    models = vanilla_models(records)
    alike: dict[object, list[Arm]] = {}  # same data, same model, evaluated alike: they may stand in one row
    for arm in arms:
        model = model_before(arm, models=models)
        alike.setdefault((trial_of(arm.runs[0].run), "" if model is None else model.folder_name), []).append(arm)
    rows = [
        row
        for of_row in alike.values()
        for split in records.splits()
        for setting in records.settings()
        for row in _rows(of_row, model=model_before(of_row[0], models=models), split=split, setting=setting)
    ]
    from_paper = any(key.startswith("paper_") for row in rows for key in row)
    cited = say_named("cited", citation=CITATION) if from_paper else ""
    trained = [arm.label for arm in arms if not arm.is_vanilla]
    more = [Column(key=f"{arm}_mean", title=say("{arm}, mean", arm=arm), how="percent") for arm in trained]
    more += [Column(key=f"{arm}_max", title=say("{arm}, max", arm=arm), how="percent") for arm in trained]
    return table_of("table_3", rows, more=(*more, *(columns_of("of_the_paper") if from_paper else ())), cited=cited)


def _rows(arms: Sequence[Arm], *, model: VanillaModel | None, split: str, setting: str) -> Iterator[Row]:
    vanilla = {} if model is None else model.by_seed(split=split, setting=setting)
    curves = {arm.label: arm.curves(split=split, setting=setting) for arm in arms}
    if not vanilla and not any(curves.values()):
        return
    first = arms[0].runs[0].run
    dataset, name = trial_of(first)
    row: dict[str, Cell] = {"dataset": dataset, "model": name, "split": split, "setting": title_of(setting)}
    row["vanilla"] = mean_accuracy(vanilla)
    for label, found in curves.items():
        row[f"{label}_mean"] = mean_interval([float(np.mean(curve)) for curve in found])
        row[f"{label}_max"] = mean_interval([max(curve) for curve in found])
    yield row | {f"paper_{key}": share for key, share in paper_row(first, split=split, setting=setting).items()}


def paper_row(run: Run, *, split: str, setting: str) -> dict[str, float]:
    """What the paper measured of a run's data and model, by COLUMNS: shares, averages of three runs, NaN where the paper has none.

    Empty unless data, model, split, setting and intact figures are the paper's.
    """
    dataset, model = trial_of(run)
    name = model.rstrip("/").rpartition("/")[2].removesuffix("-Instruct")
    line = _table_3().get(dataset, {}).get(name, {}).get(split)
    if line is None or setting not in SETTINGS or run.image_control != INTACT:
        return {}
    cells = (cell.strip() for cell in line.split("|"))
    shares = (math.nan if cell == "-" else float(cell.split("/")[SETTINGS.index(setting)]) / 100 for cell in cells)
    return dict(zip(COLUMNS, shares, strict=True))


@functools.cache
def _table_3() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("paper_table_3.toml").read_text(encoding="utf-8"))
