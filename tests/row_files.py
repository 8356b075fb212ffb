"""The same rows as JSONL, Parquet, CSV or TSV, and the source that reads them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.dataset import Dataset, Source
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import Row

TYPED = ("jsonl", "parquet")  # kinds of file with lists, objects and numbers; cells of the others are texts
KINDS = (*TYPED, "csv", "tsv")
OWN = Columns(question="question", answer="answer", images=None)


def source_of(
    folder: Path, kind: str, items: Sequence[Mapping[str, Any]], *, columns: Columns = OWN, **settings: Any
) -> JsonlSource | TableSource:
    """A source whose split `train` is these rows."""
    path = folder / f"train.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
        return JsonlSource(folder=str(folder), files={"train": path.name}, columns=columns, **settings)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([dict(item) for item in items]), path)
    else:
        write_cells(path, items, separator="," if kind == "csv" else "\t")
    return TableSource(folder=str(folder), files={"train": path.name}, columns=columns, **settings)


def write_cells(path: Path, items: Sequence[Mapping[str, Any]], *, separator: str) -> None:
    """Texts in quotes where they need them, a blank cell where a row has nothing."""
    header = list(dict.fromkeys(column for item in items for column in item))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, delimiter=separator)
        writer.writeheader()
        writer.writerows(items)


def shades(row: Row) -> list[int]:
    """The red of the top left pixel of each picture."""
    return [image.load().getpixel((0, 0))[0] for image in row.images]  # type: ignore[index]


def dataset_of(source: Source, **settings: Any) -> Dataset:
    """A data set with ordinary settings, changed."""
    ordinary = {
        "name": "own", "prompt": "{question}", "batch_size": 1, "epochs": 1, "max_prompt_tokens": 9, "max_new_tokens": 9,
        "max_pixels": None, "evaluation_rows": None, "on_bad_row": "error",
    }  # fmt: skip
    return Dataset(source=source, **{**ordinary, **settings})
