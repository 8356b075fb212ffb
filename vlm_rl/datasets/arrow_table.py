"""A memory-mapped table of the library `datasets`. Rows are built one at a time; pictures are read when they are opened."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.datasets.picture import MemoryBytes, Picture
from vlm_rl.datasets.row import BadRow
from vlm_rl.datasets.row_text import path_of
from vlm_rl.datasets.written_picture import LONGEST_NAME, REMEMBERED, Span, spans_of, written_picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """One chunk of a column of pictures. Arrow copies a cell whenever it is checked, so all cells are checked once, here."""

    filled: np.ndarray  # for each row: whether it holds anything
    bounds: np.ndarray | None  # where the list of each row starts in the values, and the end; None: one value per row
    content: pa.Array | None  # the bytes of each value
    has_content: np.ndarray | None
    names: pa.Array | None  # for each value: the name of a file, or the picture as text
    is_long: np.ndarray | None  # for each value: whether its text is too long for a file name


class ImageColumn:
    """One picture or a list of pictures per row: bytes, file names, structs of `bytes` and `path`, or base64."""

    def __init__(self, column: pa.ChunkedArray, *, table: str, name: str, largest: int) -> None:
        self._table, self._name, self._largest = table, name, largest
        self._chunks = [_chunk(array, where=f"{table}, column {name!r}") for array in column.chunks]
        self._starts = np.cumsum([0, *map(len, column.chunks)]).tolist()
        self._picture = lru_cache(REMEMBERED)(self._picture_of_bytes)  # a cached picture keeps its hash
        self._written = lru_cache(REMEMBERED)(self._picture_of_text)
        self.has_texts = any(chunk.is_long is not None and chunk.is_long.any() for chunk in self._chunks)

    def cell(self, index: int) -> list[Picture | str | None]:
        """The pictures of a row: `Picture`s, file names, and None for an empty place in a list."""
        number = bisect.bisect_right(self._starts, index) - 1
        chunk, row = self._chunks[number], index - self._starts[number]
        if not chunk.filled[row]:
            return []
        if chunk.bounds is None:
            return [value for value in self._values(number, row, place="", row=row) if value is not None]
        first, end = chunk.bounds[row : row + 2].tolist()
        return [
            value
            for place in range(first, end)
            for value in self._values(number, place, place=f" {place - first + 1}", row=row)
        ]

    def _values(self, number: int, value: int, *, place: str, row: int) -> list[Picture | str | None]:
        chunk = self._chunks[number]
        if chunk.has_content is not None and chunk.has_content[value]:
            return [self._picture(number, value, place, row)]
        if chunk.is_long is not None and chunk.is_long[value]:  # checked without a copy
            spans = spans_of(_text(chunk.names, value))
            if spans:
                return [self._written(number, value, place, row, span) for span in spans]
        name: str | None = None if chunk.names is None else chunk.names[value].as_py()
        return [name or None]

    def _picture_of_bytes(self, number: int, value: int, place: str, row: int) -> Picture:
        content = MemoryBytes(read=partial(_bytes, self._chunks[number].content, value))
        return Picture(content=content, where=self._where(number, row, place), largest=self._largest)

    def _picture_of_text(self, number: int, value: int, place: str, row: int, span: Span) -> Picture:
        read = partial(_text, self._chunks[number].names, value)
        return written_picture(read, span, where=self._where(number, row, place), largest=self._largest)

    def _where(self, number: int, row: int, place: str) -> str:
        return f"{self._table}, row {self._starts[number] + row}, {self._name!r}{place}"


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
        is_long=None if names is None else _is_long(names),
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


def _is_long(names: pa.Array) -> np.ndarray | None:
    if pa.types.is_null(names.type) or not len(names):
        return None
    long: np.ndarray = pc.greater(pc.binary_length(names), LONGEST_NAME).fill_null(False).to_numpy(zero_copy_only=False)
    return long


def _bytes(content: pa.Array, place: int) -> pa.Buffer:
    return content[place].as_buffer()


def _text(texts: pa.Array, place: int) -> memoryview:
    """The bytes of a text, without a copy."""
    _, offsets, data = texts.buffers()
    kind = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    start, end = np.frombuffer(offsets, kind, count=2, offset=(texts.offset + place) * kind.itemsize).tolist()
    return memoryview(data)[start:end]


def _valid(array: pa.Array) -> np.ndarray:
    valid: np.ndarray = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


class ArrowTable:
    """The needed columns and all short ones."""

    def __init__(
        self,
        table: pa.Table,
        *,
        name: str,
        needed: Sequence[str],
        images: Sequence[str],
        labels: Mapping[str, Sequence[str]],  # column -> class names of its integer labels
        largest: int,
    ) -> None:
        self._name, self._labels = name, labels
        self._images = {c: ImageColumn(_column(table, c), table=name, name=c, largest=largest) for c in images}
        short = [field.name for field in table.schema if _is_short(field.type)]
        self._columns = {column: _column(table, column) for column in dict.fromkeys([*needed, *short]) if column not in images}
        self._length: int = table.num_rows
        self._lists = [field.name for field in table.schema if _is_list(field.type)]

    def __len__(self) -> int:
        return self._length

    def lists(self) -> Sequence[str]:
        """Names of the columns that hold lists."""
        return self._lists

    def where(self, index: int) -> str:
        """For messages: table and row."""
        return f"{self._name}, row {index}"

    def item(self, index: int) -> Mapping[str, Any]:
        """The values of one row by column: embedded pictures as `Picture`s, labels by their class names. Raises BadRow."""
        item = {column: self._value(column, index) for column in self._columns}
        return item | {column: self._pictures(cells, index) for column, cells in self._images.items()}

    def _pictures(self, cells: ImageColumn, index: int) -> list[Picture | str | None]:
        """The pictures of a cell. In VLMEvalKit's files a cell may name the `index` of the row whose picture it shares."""
        found = cells.cell(index)
        if cells.has_texts and len(found) == 1 and isinstance(found[0], str):
            shared = cells.cell(self._rows_by_index.get(found[0], index))
            return shared if any(isinstance(picture, Picture) for picture in shared) else found
        return found

    @cached_property
    def _rows_by_index(self) -> dict[str, int]:
        column = self._columns.get("index")
        return {} if column is None else {str(value): row for row, value in enumerate(column.to_pylist())}

    def _value(self, column: str, index: int) -> Any:
        try:
            value = self._columns[column][index].as_py()
        except UnicodeDecodeError as error:
            raise BadRow(f"{self.where(index)}: {column!r} is no UTF-8 text: {error.reason}.") from None
        value = _as_written(value, self._columns[column].type)
        names = self._labels.get(column)
        if names is None or value is None or value < 0:  # the library writes -1 for an unknown label
            return value if names is None else None
        if value >= len(names):
            raise BadRow(f"{self.where(index)}: {column!r} is label {value}, and only 0 to {len(names) - 1} have names.")
        return names[value]


def shape_of(fields: Iterable[pa.Field]) -> Mapping[str, Any]:
    """Names of columns and of their nested fields, as `path_of` reads them."""
    return {field.name: shape_of(field.type) if pa.types.is_struct(field.type) else None for field in fields}


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column, or a nested field of one."""
    column, *fields = path_of(shape_of(table.schema), name) or (name,)
    return pc.struct_field(table.column(column), fields) if fields else table.column(column)


def _is_short(kind: pa.DataType) -> bool:
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(texts or numbers or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _as_written(value: Any, kind: pa.DataType) -> Any:
    """The shortest decimal that is the same float32 or float16: 0.1 instead of 0.10000000149011612."""
    if value is None:
        return None
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return float(str(kind.to_pandas_dtype()(value)))
    if pa.types.is_struct(kind):
        return {field.name: _as_written(value[field.name], field.type) for field in kind}
    if _is_list(kind):
        return [_as_written(member, kind.value_type) for member in value]
    return value
