"""The choices of conf/report.yaml as tests use them, without composing a config."""

from typing import Any

from vlm_rl.reports.settings import ReaderSize, ReportSettings

READER = {"cases_per_group": 2, "aha_cases": 3, "longest": 2000, "image_bytes": 4_000_000}


def usual_settings(**changes: Any) -> ReportSettings:
    reader = ReaderSize(**READER | changes.pop("reader", {}))
    values: dict[str, Any] = {
        "language": "en",
        "breakdown": ("modality", "kind"),
        "bottleneck_gain": 0.01,
        "currency": "USD",
        "kpis": (),
        "command": "python report.py 'studies=[<here>]'",
    }
    values |= dict.fromkeys(
        ("smallest_effect", "reference", "setting", "split", "price_per_device_hour", "reflection", "wandb_workspace")
    )
    return ReportSettings(reader=reader, **values | changes)
