"""A column of pictures in a memory-mapped table: where each one is, without touching its bytes before it is opened."""

import bisect
import io
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa

from vlm_rl.datasets.picture import Picture
from vlm_rl.datasets.picture_folder import REMEMBERED


@dataclass(frozen=True, kw_only=True, eq=False)
class CellBytes:
    """The bytes of a picture inside a table."""

    array: pa.Array = field(repr=False)
    place: int

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.array[self.place].as_buffer())


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Some rows of the column. Arrow would copy a picture for every question about its cell, so answers stand here ready."""

    filled: np.ndarray  # of each row: whether there is anything
    bounds: np.ndarray | None  # of each row: where its list begins among the values, and the end; None: one value a row
    content: pa.Array | None  # of each value: the bytes
    has_content: np.ndarray | None
    names: pa.Array | None  # of each value: the name of a file


class ImageColumn:
    """One picture or a list of them in each row: bytes, names of files, or structs of `bytes` and `path`."""

    def __init__(self, column: pa.ChunkedArray, *, table: str, name: str, largest: int) -> None:
        self._table, self._name, self._largest = table, name, largest
        self._chunks = [_chunk(array, where=f"{table}, column {name!r}") for array in column.chunks]
        self._starts = np.cumsum([0, *map(len, column.chunks)]).tolist()
        self._picture = lru_cache(REMEMBERED)(self._made)  # the same one again, so that it is not hashed again

    def cell(self, index: int) -> list[Picture | str | None]:
        """The pictures of a row; names where they are files, None for a place in a list that is empty."""
        number = bisect.bisect_right(self._starts, index) - 1
        chunk, row = self._chunks[number], index - self._starts[number]
        if not chunk.filled[row]:
            return []
        if chunk.bounds is None:
            value = self._value(number, row, place="")
            return [] if value is None else [value]
        first, end = chunk.bounds[row : row + 2].tolist()
        return [self._value(number, place, place=f" {place - first + 1}", row=row) for place in range(first, end)]

    def _value(self, number: int, value: int, *, place: str, row: int | None = None) -> Picture | str | None:
        chunk = self._chunks[number]
        if chunk.has_content is None or not chunk.has_content[value]:
            name: str | None = None if chunk.names is None else chunk.names[value].as_py()
            return name or None
        return self._picture(number, value, place, value if row is None else row)

    def _made(self, number: int, value: int, place: str, row: int) -> Picture:
        where = f"{self._table}, row {self._starts[number] + row}, {self._name!r}{place}"
        content = CellBytes(array=self._chunks[number].content, place=value)
        return Picture(content=content, where=where, largest=self._largest)


def _chunk(array: pa.Array, *, where: str) -> Chunk:
    values, bounds = array, None
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        values, bounds = array.values, array.offsets.to_numpy()
    elif pa.types.is_fixed_size_list(array.type):
        values, bounds = array.values, (np.arange(len(array) + 1) + array.offset) * array.type.list_size
    content, names = _parts(values, where=where)
    return Chunk(
        filled=_valid(array),
        bounds=bounds,
        content=content,
        has_content=None if content is None else _valid(content) & _valid(values),
        names=names,
    )


def _parts(values: pa.Array, *, where: str) -> tuple[pa.Array | None, pa.Array | None]:
    """Bytes and names."""
    kind = values.type
    if pa.types.is_struct(kind) and (fields := {"bytes", "path"} & {field.name for field in kind}):
        parts = {name: values.field(name) for name in fields}
        return parts.get("bytes"), parts.get("path")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return values, None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return None, values
    raise ValueError(
        f"{where} holds {kind}: neither pictures as bytes (with or without path) nor names of files. "
        "Set dataset.source.columns.images to the column of pictures, or to null."
    )


def _valid(array: pa.Array) -> np.ndarray:
    answer: np.ndarray = array.is_valid().to_numpy(zero_copy_only=False)
    return answer
