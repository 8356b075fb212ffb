"""Table 3 of the paper (Ma et al. 2025, arXiv 2504.02587v2), to stand beside our numbers where the experiment is the paper's."""

import math
from dataclasses import dataclass
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


# Accuracy in %, under the three settings in the order of SETTINGS: Vanilla | SFT mean | RL mean | SFT max | RL max.
_TABLE_3 = {
    ("mm_math5k", "Qwen2-VL-7B", "val"): "36.0/16.0/16.0 | 46.8/19.9/18.8 | 48.5/23.4/24.1 | 53.0/29.0/25.0 | 55.7/31.0/31.0",
    ("mm_math5k", "Qwen2-VL-7B", "test"): "29.0/11.0/11.0 | 25.2/8.7/9.6 | 35.2/14.1/14.1 | 32.0/12.0/16.0 | 42.7/19.7/20.7",
    ("mm_math5k", "Qwen2.5-VL-7B", "val"): "65.0/36.0/35.0 | 60.6/30.8/31.2 | 64.8/39.8/40.3 | 66.0/39.0/37.0 | 70.0/47.2/46.2",
    (
        "mm_math5k",
        "Qwen2.5-VL-7B",
        "test",
    ): "54.0/28.0/28.0 | 35.2/13.3/15.0 | 54.6/29.0/31.8 | 44.0/20.0/20.0 | 61.8/35.2/38.3",
    ("geometry3k", "Qwen2-VL-7B", "val"): "41.7/18.3/18.7 | - | 52.5/25.2/26.7 | - | 57.0/30.3/31.1",
    ("geometry3k", "Qwen2-VL-7B", "test"): "46.6/20.3/23.1 | - | 58.0/30.3/31.1 | - | 62.1/34.3/34.1",
    ("geometry3k", "Qwen2.5-VL-7B", "val"): "63.0/31.3/35.3 | - | 60.8/33.4/34.6 | - | 64.4/37.9/37.7",
    ("geometry3k", "Qwen2.5-VL-7B", "test"): "69.4/38.6/40.6 | - | 69.3/41.5/42.0 | - | 71.8/44.6/45.0",
}


def paper_row(config: dict[str, Any], *, split: str, setting: str) -> PaperRow | None:
    """What the paper measured under a run's config; None unless data, model, split, setting and intact figures are the paper's."""
    dataset, model = ((config.get(group) or {}).get("name") for group in ("dataset", "model"))
    image = ((config.get("evaluation") or {}).get("image") or {}).get("_target_", INTACT)
    name = str(model).rstrip("/").rpartition("/")[2].removesuffix("-Instruct")
    line = _TABLE_3.get((str(dataset), name, split))
    if line is None or setting not in SETTINGS or image != INTACT:
        return None
    place = SETTINGS.index(setting)
    vanilla, sft_mean, rl_mean, sft_max, rl_max = (_share(cell.strip(), place=place) for cell in line.split("|"))
    return PaperRow(vanilla=vanilla, sft_mean=sft_mean, rl_mean=rl_mean, sft_max=sft_max, rl_max=rl_max)


def _share(cell: str, *, place: int) -> float:
    return math.nan if cell == "-" else float(cell.split("/")[place]) / 100
