"""When and where a run was started, as the `history` of its manifest says: one entry for each start."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a run."""

    time: float  # seconds since 1970
    host: str
    generation_steps: int  # it went on from there


def starts_of(manifest: Mapping[str, Any]) -> tuple[Start, ...]:
    """All starts in order, or none where any of them cannot be read: older versions kept no history."""
    history = manifest.get("history")
    try:
        starts = [
            Start(
                time=datetime.fromisoformat(entry["time"]).timestamp(),
                host=entry["host"],
                generation_steps=int(entry["generation_steps"]),
            )
            for entry in history or ()
        ]
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return ()
    return tuple(starts) if all(isinstance(start.host, str) and start.host for start in starts) else ()
