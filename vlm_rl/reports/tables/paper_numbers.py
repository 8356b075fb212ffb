"""Table 3 of the paper (Ma et al. 2025, arXiv 2504.02587v2), to stand beside our numbers where the experiment is the paper's."""

import functools
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
