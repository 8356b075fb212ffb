"""In what the configs of the arms differ: the keys that a reader would otherwise look for in two manifests."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_rl.arm_hash import OF_SERVERS
from vlm_rl.reports.phrase import say_named
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.table import Column, Row, Table, table_of

# What says only where and how a run is kept or watched. None of it changes what a run computes.
WITHOUT_EFFECT = (
    *("study", "job", "dry_run", "preflight", "logger", "pictures", "completion_tables", "checkpoint", "identity", "alerts"),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.max_time"),
    *("per_algorithm", "selection", "ranks"),
    *(f"rollout.{engine}.{name}" for engine in ("engine", "evaluation_engine") for name in OF_SERVERS),
)
PATHS = ("path", "dir", "folder", "cache")  # ends of keys that say where something lies
MOST_KEYS, MOST_ARMS = 60, 8  # of one table on the page; its CSV file has all arms


def config_table(records: Records) -> Table:
    """A row for each dotted key whose value is not the same in all trained arms, a column for each arm; none for one arm."""
    settings = {arm.label: settings_of(arm) for arm in records.trained}
    keys = sorted({key for of_arm in settings.values() for key in of_arm})
    differing = [key for key in keys if len({of_arm.get(key, "") for of_arm in settings.values()}) > 1]
    rows: list[Row] = [
        {"config_key": key} | {label: of_arm.get(key) for label, of_arm in settings.items()} for key in differing[:MOST_KEYS]
    ]
    shown = list(settings)[:MOST_ARMS]
    more = [Column(key=label, how="text", title=label) for label in shown]
    left_out = {"keys": len(differing) - len(rows), "arms": len(settings) - len(shown)}
    return table_of(
        "config", rows, more=more, left_out=say_named("config.left_out", **left_out) if any(left_out.values()) else ""
    )


def settings_of(arm: Arm) -> dict[str, str]:
    """Every setting of an arm by its dotted key, without the seed, paths and what only says where or how a run is kept."""
    return {key: text for key, text in _flat(arm.used[0].run.config, before="") if _matters(key)}


def _matters(key: str) -> bool:
    last = key.rpartition(".")[2]
    is_outside = any(key == name or key.startswith(f"{name}.") for name in WITHOUT_EFFECT)
    return not is_outside and last != "seed" and not last.endswith(PATHS)


def _flat(config: Mapping[str, Any], *, before: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, before=f"{before}{key}.")
        else:
            yield f"{before}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
