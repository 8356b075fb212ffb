"""Reads the files that runs leave, Parquet and JSON lines, whatever is in them: never a broken text, never a file outside of the run."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from vlm_rl.reports.phrase import Phrase, say, say_named

Record = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


def leads_out(path: Path, *, folder: Path) -> Phrase | None:
    """Why a file of a folder is not read, None where nothing speaks against it; one that is not there is no matter.

    Links above the folder are its owner's. Those in it must stay inside.
    """
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return say_named("gaps.link_outside", path=path, folder=folder)
        if path.exists() and not path.is_file():
            return say("{path} is no regular file and is not read. Remove it.", path=path)
    except (OSError, ValueError, RuntimeError):  # a circle of links, a null byte
        return say("{path} leads nowhere and is not read. Remove it.", path=path)
    return None


COLUMN_TYPES: Mapping[str, pa.DataType] = {  # any other column is a text, or a reward term
    **dict.fromkeys(("epoch", "accuracy", "score"), pa.float64()),
    **dict.fromkeys(("generation_steps", "sample", "response_length"), pa.int64()),
    "boxed": pa.bool_(),
}
SCORES = "scores"  # stands for the columns that only training has: the score and each reward term
NUM_THREADS = min(4, os.cpu_count() or 1)  # Arrow lets go of the interpreter while it reads and searches; more gain nothing


class UnreadableRows(ValueError):
    """A file is broken, half-written or lacks a column; `reason` says which, in the language of the report."""

    def __init__(self, reason: Phrase) -> None:
        super().__init__(reason)
        self.reason = reason


def read_rows(path: Path, *, columns: Sequence[str]) -> pa.Table:
    """Some columns of a file, in this order; texts are valid UTF-8 and never null. SCORES stands for whatever scores the file has."""
    if (why := leads_out(path, folder=_run_folder(path))) is not None:
        raise UnreadableRows(why)
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            scores = [name for name in present if name == "score" or name.startswith("reward_")]
            wanted = [name for column in columns for name in (scores if column == SCORES else [column])]
            if missing := [name for name in wanted if name not in present]:
                raise UnreadableRows(say("{path} has no column {columns}.", path=path, columns=", ".join(missing)))
            table = file.read(columns=wanted, use_threads=False)
        return pa.table({name: _clean(table[name], name=name) for name in wanted})
    except (pa.ArrowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnreadableRows(say("{path} cannot be read: {reason}", path=path, reason=reason)) from error


def over_files(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`function` of each item, side by side, in order: for work in which Arrow does most."""
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        return list(threads.map(function, items))


def _run_folder(path: Path) -> Path:
    """`<run>/evaluations/epoch-0001/x.parquet`, `<run>/completions/x.parquet`; for any other file the folder that it lies in."""
    if path.parent.parent.name == "evaluations":
        return path.parents[2]
    return path.parents[1] if path.parent.name == "completions" else path.parent


def _clean(column: pa.ChunkedArray, *, name: str) -> pa.ChunkedArray:
    """The column in the type that it is read as. Broken UTF-8 becomes U+FFFD, once, here; a missing text is empty."""
    kind = pa.float64() if name.startswith("reward_") else COLUMN_TYPES.get(name)
    if kind is not None:
        return column.cast(kind)
    texts = column.cast(pa.string(), safe=False)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        read = [text and text.decode(errors="replace") for text in texts.cast(pa.binary()).to_pylist()]
        texts = pa.chunked_array([pa.array(read, pa.string())])
    return texts.fill_null("") if texts.null_count else texts


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


def read_json_lines(path: Path, *, problems: list[str]) -> tuple[Record, ...]:
    """Every complete line. A last line without its newline is being written now and is no problem; no file is no lines."""
    if (why := leads_out(path, folder=path.parent)) is not None:
        problems.append(why)
    if why is not None or not path.is_file():
        return ()
    records: list[Record] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                records.append(read_object(line))
            except ValueError:
                if line.endswith("\n"):
                    problems.append(
                        say("{path}: line {number} is not a JSON object and is left out.", path=path, number=number)
                    )
    return tuple(records)


def doubled_lines(lines: Sequence[Record], *, path: Path) -> Iterator[Phrase]:
    """Name a file in which an event of a generation step stands twice."""
    counts = Counter((str(line.get("event")), number(line, key="generation_steps")) for line in lines)
    if doubled := [place for place, count in counts.items() if count > 1 and math.isfinite(place[1])]:
        event, step = doubled[0]
        yield say_named("gaps.doubled_lines", path=path, count=len(doubled), event=event, step=int(step))


def count_of(value: object) -> int | None:
    """A count of a config; None where there is none, or where only the environment knows it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def number(record: Record, *, key: str) -> float:
    """A quantity of a record; NaN where it is missing, null or not a number."""
    value = record.get(key)
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan
