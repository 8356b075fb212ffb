"""Reads manifests, metrics.jsonl, cost.jsonl and alerts.jsonl, also of a run that is still writing them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.inside import leads_out

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    """The records of a file, and what was wrong with it."""

    records: tuple[Record, ...]
    problems: tuple[str, ...]


def read_object(text: str) -> Record:
    """A JSON object, with half a surrogate pair made a question mark: no file could be written with it. ValueError for all else."""
    try:
        found = json.loads(text)
        if isinstance(found, dict) and "\\u" in text:
            found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def read_json_lines(path: Path) -> JsonLines:
    """Every complete line. A last line without its newline is being written now and is no problem; no file is no lines."""
    if (why := leads_out(path, folder=path.parent)) is not None:
        return JsonLines(records=(), problems=(why,))
    if not path.is_file():
        return JsonLines(records=(), problems=())
    records: list[Record] = []
    problems: list[str] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                records.append(read_object(line))
            except ValueError:
                if line.endswith("\n"):
                    problems.append(
                        say("{path}: line {number} is not a JSON object and is left out.", path=path, number=number)
                    )
    return JsonLines(records=tuple(records), problems=tuple(problems))


def number(record: Record, *, key: str) -> float:
    """A quantity of a record; NaN where it is missing, null or not a number."""
    value = record.get(key)
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan
