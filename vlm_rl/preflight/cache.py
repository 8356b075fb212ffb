"""What earlier checks found, in JSON files that processes and runs share, replaced whole; one that cannot be read is empty."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_rl.run_folder import write_whole

FORMAT = "v1"  # goes up with every change of what an entry means
MAX_ENTRIES = 2_000_000  # of one file; past that only what is new is kept


class Cache:
    """Entries by place (a folder of images, the golds of a data set) and name. `folder=None` remembers nothing."""

    def __init__(self, *, folder: str | None) -> None:
        self._folder = Path(folder).expanduser() / FORMAT if folder else None

    def read(self, place: str) -> dict[str, Any]:
        """All entries of a place."""
        if self._folder is None:
            return {}
        try:
            found = json.loads(self._file(place).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(found, dict) and found.get("place") == place and isinstance(found.get("entries"), dict)
        return found["entries"] if whole else {}

    def add(self, place: str, entries: Mapping[str, Any]) -> None:
        """Writes new entries beside the old ones; a folder that cannot be written to is no reason to stop."""
        if self._folder is None or not entries:
            return
        old = self.read(place)
        kept = old | dict(entries) if len(old) + len(entries) <= MAX_ENTRIES else dict(entries)
        text = json.dumps({"place": place, "entries": kept}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            write_whole(self._file(place), lambda file: file.write_text(text, encoding="utf-8"))

    def _file(self, place: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
