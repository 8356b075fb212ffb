"""Reads metrics.jsonl and cost.jsonl, also of a run that is still writing them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    """The records of a file, and what was wrong with it."""

    records: tuple[Record, ...]
    problems: tuple[str, ...]


def read_json_lines(path: Path) -> JsonLines:
    """Every complete line. A last line without its newline is being written now and is no problem; no file is no lines."""
    if not path.is_file():
        return JsonLines(records=(), problems=())
    records: list[Record] = []
    problems: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                assert isinstance(record, dict)
                records.append(record)
            except (ValueError, AssertionError):
                if line.endswith("\n"):
                    problems.append(f"{path}: line {number} is not a JSON object and is left out.")
    return JsonLines(records=tuple(records), problems=tuple(problems))


def number(record: Record, *, key: str) -> float:
    """A quantity of a record; NaN where it is missing, null or not a number."""
    value = record.get(key)
    return float(value) if isinstance(value, int | float) else math.nan
