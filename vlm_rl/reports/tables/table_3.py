"""Arms side by side as the paper's Table 3. Levels only, no verdicts."""

import functools
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, Trial, UntrainedModel, model_before, trial_of, untrained_models
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.accuracy_tables import accuracy_interval, curves_of
from vlm_rl.reports.tables.table import Cell, Column, Row, Table, columns_of, table_of

CITATION = "Ma et al. 2025, arXiv 2504.02587v2, Table 3"
SETTINGS = ("pass@8_t1.0", "pass@1_t0.6", "pass@1_t0.01")
INTACT = "vlm_rl.evaluation.image_control.Intact"


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """Accuracies as shares, averages of three runs; NaN where the paper has none (no worked solutions, so no SFT)."""

    vanilla: float
    sft_mean: float
    rl_mean: float
    sft_max: float
    rl_max: float


def paper_row(config: dict[str, Any], *, split: str, setting: str) -> PaperRow | None:
    """What the paper measured under a run's config; None unless data, model, split, setting and intact figures are the paper's."""
    dataset, model = ((config.get(group) or {}).get("name") for group in ("dataset", "model"))
    image = ((config.get("evaluation") or {}).get("image") or {}).get("_target_", INTACT)
    name = str(model).rstrip("/").rpartition("/")[2].removesuffix("-Instruct")
    line = _table_3().get(str(dataset), {}).get(name, {}).get(split)
    if line is None or setting not in SETTINGS or image != INTACT:
        return None
    place = SETTINGS.index(setting)
    cells = (cell.strip() for cell in line.split("|"))
    shares = [math.nan if cell == "-" else float(cell.split("/")[place]) / 100 for cell in cells]
    return PaperRow(**dict(zip(PaperRow.__dataclass_fields__, shares, strict=True)))


@functools.cache
def _table_3() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("paper_table_3.toml").read_text(encoding="utf-8"))


def table3_table(records: Records) -> Table:
    """The paper's Table 3: a row for each split and setting; Vanilla, then every arm's mean, then every arm's maximum over epochs."""
    arms = sorted(records.shown, key=lambda arm: arm.runs[0].run.role != "teacher")  # the paper's order: SFT before RL
    rows = [
        row
        for alike in _starting_alike(arms, models=untrained_models(records))
        for split in records.splits()
        for setting in records.settings()
        for row in _rows(alike, split=split, setting=setting)
    ]
    from_paper = any(key.startswith("paper_") for row in rows for key in row)
    cited = say_named("cited", citation=CITATION) if from_paper else ""
    trained = [arm.label for arm in arms if not arm.is_untrained]
    more = [Column(key=f"{arm}_mean", title=say("{arm}, mean", arm=arm), how="percent") for arm in trained]
    more += [Column(key=f"{arm}_max", title=say("{arm}, max", arm=arm), how="percent") for arm in trained]
    return table_of("table_3", rows, more=(*more, *(columns_of("of_the_paper") if from_paper else ())), cited=cited)


@dataclass(frozen=True, kw_only=True)
class _Alike:
    """Arms that may stand in one row: same data, same model, evaluated alike."""

    arms: tuple[Arm, ...]
    model: UntrainedModel | None  # None where no run names one

    def untrained(self, *, split: str, setting: str) -> list[Evaluation]:
        return [] if self.model is None else list(self.model.by_seed(split=split, setting=setting).values())


def _starting_alike(arms: Sequence[Arm], *, models: Sequence[UntrainedModel]) -> list[_Alike]:
    found: dict[tuple[Trial, str], list[Arm]] = {}
    for arm in arms:
        model = model_before(arm, models=models)
        found.setdefault((trial_of(arm.runs[0].run), "" if model is None else model.folder_name), []).append(arm)
    return [_Alike(arms=tuple(alike), model=model_before(alike[0], models=models)) for alike in found.values()]


def _rows(alike: _Alike, *, split: str, setting: str) -> Iterator[Row]:
    untrained = alike.untrained(split=split, setting=setting)
    curves = {arm.label: curves_of(arm, split=split, setting=setting) for arm in alike.arms}
    if not untrained and not any(curves.values()):
        return
    first = alike.arms[0].runs[0].run
    dataset, model = trial_of(first)
    row: dict[str, Cell] = {"dataset": dataset, "model": model, "split": split, "setting": title_of(setting)}
    row["vanilla"] = accuracy_interval(untrained)
    for label, found in curves.items():
        row[f"{label}_mean"] = mean_interval([float(np.mean(curve)) for curve in found])
        row[f"{label}_max"] = mean_interval([max(curve) for curve in found])
    paper = paper_row(first.config, split=split, setting=setting)
    yield row | ({} if paper is None else {f"paper_{name}": getattr(paper, name) for name in PaperRow.__dataclass_fields__})
