"""A JSONL file as a table. Only the offsets of its lines are kept. A line that JSON readers could read in two ways is refused."""

import contextlib
import json
import math
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rl.datasets.picture import LARGEST_IMAGE, Picture
from vlm_rl.datasets.row import BadRow
from vlm_rl.datasets.row_file import open_rows
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.written_picture import LONGEST_NAME, REMEMBERED, Span, spans_of, written_picture

LONGEST_NUMBER = 4300  # characters; Python's own limit for integers
SHOWN = 40  # characters of a key or a number in a message
LOOKED_AT = 100  # lines that are checked for lists
LONGEST_LINE = 2**26  # bytes; a row is a question, not a data set
COMPRESSED = {b"\x1f\x8b": "gunzip", b"PK\x03\x04": "unzip", b"\x28\xb5\x2f\xfd": "unzstd", b"BZh": "bunzip2"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # a surrogate as an escape: it cannot be in UTF-8 otherwise


class NotStrict(ValueError):
    """Python's reader accepts it, and it is no valid JSON or too large. The message says what it is and what to do."""


def read_strictly(line: bytes) -> Any:
    """The value. Raises NotStrict, json.JSONDecodeError, or RecursionError where brackets are nested too deeply."""
    return json.loads(
        line,
        object_pairs_hook=_object,
        parse_constant=_constant,
        parse_int=lambda digits: int(_bounded(digits)),
        parse_float=_number,
    )


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise NotStrict(f"holds {shown(twice, most=SHOWN)} twice in one object, and the first would be lost. Keep one of them.")
    return found


def _constant(word: str) -> Any:
    raise NotStrict(f"holds {word}, which is no JSON. Write null, or a text in quotes.")


def _number(digits: str) -> float | str:
    """A float where that is exact, else the text as it is written: no digit is lost."""
    value = float(_bounded(digits))
    if not math.isfinite(value):
        raise NotStrict(f"holds the number {shown(digits, most=SHOWN)}, which is too large. Write it as a text in quotes.")
    try:
        return value if Decimal(digits) == Decimal(str(value)) else digits
    except InvalidOperation:  # an exponent of twenty digits
        return digits


def _bounded(digits: str) -> str:
    if len(digits) > LONGEST_NUMBER:
        raise NotStrict(
            f"holds a number that is too long: {len(digits):,} characters, more than {LONGEST_NUMBER}. "
            "Write it as a text in quotes."
        )
    return digits


class LineTable:
    """The non-blank lines, read one at a time."""

    def __init__(self, path: Path, *, largest: int = LARGEST_IMAGE) -> None:
        self._path, self._largest = path, largest
        self._picture = lru_cache(REMEMBERED)(self._picture_of_text)  # a cached picture keeps its hash
        self._lines = np.fromiter(_lines(path), dtype=np.dtype((np.int64, 3)))  # (start, length, number from 1) of each
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._lines)

    def lists(self) -> Sequence[str]:
        """Keys that hold a list in one of the first objects."""
        found: dict[str, None] = {}
        for index in range(min(LOOKED_AT, len(self))):
            with contextlib.suppress(BadRow):
                found |= dict.fromkeys(key for key, value in self.item(index).items() if isinstance(value, list))
        return list(found)

    def where(self, index: int) -> str:
        """For messages: file and line."""
        return f"{self._path}, line {self._lines[index][2]}"

    def item(self, index: int) -> Mapping[str, Any]:
        """The object of a line; base64 pictures as `Picture`s, which read the line again. Raises BadRow."""
        item = self._read(index)
        if self._lines[index][1] <= LONGEST_NAME:
            return item
        return {key: self._with_pictures(value, index, key) for key, value in item.items()}

    def _with_pictures(self, value: Any, index: int, key: str) -> Any:
        if isinstance(value, list):
            return [part for place, member in enumerate(value) for part in self._parts(member, index, key, place)]
        parts = self._parts(value, index, key, None)
        return parts[0] if len(parts) == 1 else parts

    def _parts(self, value: Any, index: int, key: str, place: int | None) -> list[Any]:
        long = isinstance(value, str) and len(value) > LONGEST_NAME
        return [self._picture(index, key, place, span) for span in spans_of(value.encode())] or [value] if long else [value]

    def _picture_of_text(self, index: int, key: str, place: int | None, span: Span) -> Picture:
        where = f"{self.where(index)}, {key!r}" + (f" {place + 1}" if place is not None else "")
        return written_picture(partial(self._text, index, key, place), span, where=where, largest=self._largest)

    def _text(self, index: int, key: str, place: int | None) -> bytes:
        value = self._read(index)[key]
        text: str = value if place is None else value[place]
        return text.encode()

    def _read(self, index: int) -> dict[str, Any]:
        start, length, _ = self._lines[index].tolist()
        try:
            line = os.pread(self._file, length, start)
            item: Any = read_strictly(line)
            if SURROGATE.search(line):
                json.dumps(item, ensure_ascii=False).encode()
        except NotStrict as error:
            raise BadRow(f"{self.where(index)} {error}") from None
        except json.JSONDecodeError as error:
            raise BadRow(f"{self.where(index)} is no JSON: {error.msg} at column {error.colno}.") from None
        except UnicodeEncodeError as error:
            half = json.dumps(error.object[error.start])
            raise BadRow(f"{self.where(index)} holds half a sign ({half}), which is no text. Save it again as UTF-8.") from None
        except RecursionError:
            raise BadRow(f"{self.where(index)} is no row: its brackets are nested too deeply. Write it flat.") from None
        if not isinstance(item, dict):
            raise BadRow(f'{self.where(index)} is no JSON object; a row is one line like {{"id": ..., "question": ...}}.')
        return item


def _lines(path: Path) -> Iterator[tuple[int, int, int]]:
    """(start, length, number) of the lines that are not blank. Only b"\\n" ends a line: JSON strings may hold U+2028."""
    start = 0
    with open_rows(path) as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), start=1):
            mark = len(BYTE_ORDER_MARK) if number == 1 and line.startswith(BYTE_ORDER_MARK) else 0
            _check(line, path=path, number=number, start=start)
            if line[mark:].strip():
                yield start + mark, len(line) - mark, number
            start += len(line)


def _check(line: bytes, *, path: Path, number: int, start: int) -> None:
    """Raise ValueError for a line that is too long or no UTF-8."""
    if len(line) > LONGEST_LINE:
        raise ValueError(
            f"{path}, line {number} is longer than {LONGEST_LINE:,} bytes. A row is one short line; put pictures into files."
        )
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        packed = next((tool for magic, tool in COMPRESSED.items() if number == 1 and line.startswith(magic)), None)
        advice = "Save it as UTF-8." if packed is None else f"It is compressed: {packed} it first."
        raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {start + error.start}. {advice}") from None
