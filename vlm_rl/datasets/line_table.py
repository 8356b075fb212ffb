"""A JSONL file as a table: where its lines begin is kept, the lines are not."""

import json
import os
import re
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rl.datasets.lazy_rows import BadRow

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a sign, as an escape: the only way into a file that is UTF-8


class LineTable:
    """The lines that are not blank, read one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = np.fromiter(_lines(path), dtype=np.dtype((np.int64, 3)))  # (start, length, number from 1) of each
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._lines)

    def where(self, index: int) -> str:
        """For messages: file and line."""
        return f"{self._path}, line {self._lines[index][2]}"

    def item(self, index: int) -> Mapping[str, Any]:
        """The object of a line. Raises BadRow."""
        start, length, _ = self._lines[index].tolist()
        try:
            line = os.pread(self._file, length, start)
            item: Any = json.loads(line)
            if SURROGATE.search(line):
                json.dumps(item, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise BadRow(f"{self.where(index)} is no JSON: {error.msg} at column {error.colno}.") from None
        except UnicodeEncodeError as error:
            half = json.dumps(error.object[error.start])
            raise BadRow(f"{self.where(index)} holds half a sign ({half}), which is no text. Save it again as UTF-8.") from None
        except ValueError as error:
            raise BadRow(f"{self.where(index)} holds a number that is too long: {error}.") from None
        except RecursionError:
            raise BadRow(f"{self.where(index)} is no row: its brackets are nested too deeply.") from None
        if not isinstance(item, dict):
            raise BadRow(f'{self.where(index)} is no JSON object; a row is one line like {{"id": ..., "question": ...}}.')
        return item


def _lines(path: Path) -> Iterator[tuple[int, int, int]]:
    """(start, length, number) of the lines that are not blank. Only b"\\n" ends a line: JSON strings may hold U+2028."""
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            mark = len(BYTE_ORDER_MARK) if number == 1 and line.startswith(BYTE_ORDER_MARK) else 0
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = start + error.start
                raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {at}. Save it as UTF-8.") from None
            if line[mark:].strip():
                yield start + mark, len(line) - mark, number
            start += len(line)
