"""A table of the library `datasets`, memory-mapped: its texts become Python objects one row at a time."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.datasets.image_column import ImageColumn
from vlm_rl.datasets.lazy_rows import BadRow
from vlm_rl.datasets.picture import Picture
from vlm_rl.datasets.row_text import path_of


class ArrowTable:
    """The columns that are needed, and all short ones beside them."""

    def __init__(
        self,
        table: pa.Table,
        *,
        name: str,
        needed: Sequence[str],
        images: Sequence[str],
        labels: Mapping[str, Sequence[str]],  # names of the numbers in a column
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
        """One row; embedded pictures as `Picture`s, files by their names, numbered labels by theirs. Raises BadRow."""
        item = {column: self._value(column, index) for column in self._columns}
        return item | {column: self._pictures(cells, index) for column, cells in self._images.items()}

    def _pictures(self, cells: ImageColumn, index: int) -> list[Picture | str | None]:
        """Those of a cell, or of the row whose `index` it names: VLMEvalKit writes a picture in base64 once."""
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
        if names is None or value is None or value < 0:  # the library writes -1 where the label is not known
            return value if names is None else None
        if value >= len(names):
            raise BadRow(f"{self.where(index)}: {column!r} is label {value}, and only 0 to {len(names) - 1} have names.")
        return names[value]


def shape_of(fields: Iterable[pa.Field]) -> Mapping[str, Any]:
    """The names of columns, and of the fields inside of them: what `path_of` looks in."""
    return {field.name: shape_of(field.type) if pa.types.is_struct(field.type) else None for field in fields}


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column, or a field inside of one."""
    column, *fields = path_of(shape_of(table.schema), name) or (name,)
    return pc.struct_field(table.column(column), fields) if fields else table.column(column)


def _is_short(kind: pa.DataType) -> bool:
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(texts or numbers or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _as_written(value: Any, kind: pa.DataType) -> Any:
    """A float32 or float16 becomes the shortest number that is the same one there: 0.1, and not 0.10000000149011612."""
    if value is None:
        return None
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return float(str(kind.to_pandas_dtype()(value)))
    if pa.types.is_struct(kind):
        return {field.name: _as_written(value[field.name], field.type) for field in kind}
    if _is_list(kind):
        return [_as_written(member, kind.value_type) for member in value]
    return value
