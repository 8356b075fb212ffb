"""Data sets of the hub, and Parquet and CSV files. The library `datasets` memory-maps them; no code of a data set is run."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from vlm_rl.datasets.arrow_table import ArrowTable, shape_of
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.jsonl import ColumnSource, FileSource
from vlm_rl.datasets.missing import is_archive
from vlm_rl.datasets.row import LazyRows
from vlm_rl.datasets.row_file import check_regular
from vlm_rl.datasets.row_text import cell, inside, path_of
from vlm_rl.datasets.shown import listing, shortened
from vlm_rl.datasets.written_picture import PictureFolder, blobs_of

LARGEST_PART = 2**27  # bytes of a CSV file that are read at a time
BUILDERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}
CARDS = ("README.md", ".huggingface.yaml")  # what the library reads before it lists the files of a folder
LONGEST_HEAD = 2**22  # characters of a card that are checked
TABLES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


@dataclass(kw_only=True, eq=False)
class HubSource(ColumnSource):
    """A data set of the hub by its name, or a folder with a copy. `splits` maps train, val and test to its splits."""

    path: str
    splits: Mapping[str, str]  # a part of a split is a split: train[:90%]
    name: str | None = None  # its configuration, where it has several
    revision: str | None = None

    def rows(self, split: str) -> LazyRows:
        """The rows of a split, built on access; access to a bad row raises BadRow."""
        if split not in self.splits:
            raise ValueError(f"dataset.source.splits does not say which split of {self.path} is {split!r}.")
        theirs = self.splits[split]
        folder = Path(self.path) if Path(self.path).is_dir() else None
        for card in map(folder.joinpath, CARDS) if folder is not None else ():
            check_card(card, name=self.path)

        def builder(**more: Any) -> Any:
            from datasets import load_dataset_builder

            return load_dataset_builder(self.path, self.name, revision=None if folder else self.revision, **more)

        def load() -> Any:
            made.download_and_prepare()
            return made.as_dataset(split=theirs)

        opened = partial(
            _opened,
            what=f"{self.path} (split {theirs!r})",
            absent=f"Where there is internet: hf download {self.path} --repo-type dataset --local-dir COPY. "
            "Then set dataset.source.path=COPY.",
            wrong=f"dataset.source.splits.{split} must name one of its splits, or a part of one such as 'train[90%:]'; "
            "dataset.source.name its configuration, where it has several.",
        )
        made = opened(builder)
        check_files(files_of(made), folder=folder, name=self.path)
        if tables := opened(partial(tables_beside, files_of(made), folder=folder)):
            made = opened(partial(builder, data_files=tables))
            check_files(files_of(made), folder=folder, name=self.path)
        pictures = self._pictures(folder)
        table = _table(
            opened(load),
            name=f"{self.path}, split {theirs}",
            columns=self.columns,
            largest=pictures.largest,
            archives=[*filter(is_archive, map(os.path.basename, files_of(made)))],
        )
        return self.columns.rows(table, split=split, pictures=pictures, golds=self.golds)

    def _pictures(self, folder: Path | None) -> PictureFolder:
        """Pictures that are files of the data set: in its folder, or in the caches of the libraries."""
        from datasets.config import HF_DATASETS_CACHE
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.file_download import repo_folder_name

        own = folder or Path(HF_HUB_CACHE) / repo_folder_name(repo_id=self.path, repo_type="dataset")
        stores = (Path(HF_DATASETS_CACHE), *blobs_of(own.absolute()))
        return PictureFolder(own, largest=self.largest_image, stores=stores)


@dataclass(kw_only=True, eq=False)
class TableSource(FileSource):
    """Parquet or CSV files, one or several for each split (data/train-*.parquet); `folder` is what their names are relative to."""

    folder: str

    def rows(self, split: str) -> LazyRows:
        """The rows of a split, built on access; a bad row raises BadRow. Pictures are relative to the files."""
        pattern = Path(self.folder) / self.file_of(split)
        if pattern.suffix not in BUILDERS:
            raise ValueError(f"{pattern}: dataset=parquet reads {', '.join(BUILDERS)} files; dataset=jsonl reads JSONL.")
        paths = sorted(map(str, Path(self.folder).glob(self.files[split])))
        if not paths:
            raise FileNotFoundError(f"{pattern} is not there (split {split!r}). {self.folder_advice}")
        for path in paths:
            check_regular(Path(path))

        def load() -> Any:
            from datasets import load_dataset

            kind = BUILDERS[pattern.suffix]
            options = _all_text(paths, separator="\t" if pattern.suffix == ".tsv" else ",") if kind == "csv" else {}
            return load_dataset(kind, data_files=paths, split="train", **options)

        dataset = _opened(load, what=str(pattern), absent="It must be readable.", wrong="Write the file again.")
        pictures = PictureFolder(pattern.parent, largest=self.largest_image)
        table = _table(dataset, name=str(pattern), columns=self.columns, largest=self.largest_image)
        return self.columns.rows(table, split=split, pictures=pictures, golds=self.golds)


def _all_text(paths: Sequence[str], *, separator: str) -> dict[str, Any]:
    """Options that keep each cell as text: 007 does not become 7, nor 20 beside a blank 20.0."""
    from datasets import Features, Value

    with open(paths[0], newline="", encoding="utf-8-sig") as file:
        header: list[str] = next(filter(None, csv.reader(file, delimiter=separator)), [])
    features = Features({column: Value("string") for column in header})
    return {"sep": separator, "features": features, "na_filter": False} | _rows_at_a_time(paths)


def _rows_at_a_time(paths: Sequence[str]) -> dict[str, int]:
    """Fewer than the library's 10,000 rows at a time where pictures in the cells would fill the memory."""
    largest = max(map(Path, paths), key=lambda path: path.stat().st_size)
    size = largest.stat().st_size
    if size <= LARGEST_PART:
        return {}
    with largest.open("rb") as file:
        lines = sum(part.count(b"\n") for part in iter(partial(file.read, 2**20), b""))
    return {"chunksize": max(1, min(10_000, LARGEST_PART * lines // size))}


def _opened(load: Callable[[], Any], *, what: str, absent: str, wrong: str) -> Any:
    """Load a data set. Any failure becomes a ValueError with a fix: `absent` for files that are not there, else `wrong`."""
    try:
        return load()
    except Exception as error:  # the library has dozens of kinds, most of them plain Exceptions
        reason = shortened(str(error.__cause__ or error).strip().split("\n")[0].rstrip("."), most=250)
        advice = absent if isinstance(error, OSError) else wrong
        raise ValueError(f"{what} cannot be opened: {reason} ({type(error).__name__}). {advice}") from error


def _table(dataset: Any, *, name: str, columns: Columns, largest: int, archives: Sequence[str] = ()) -> ArrowTable:
    packed = (
        f" Its files are archives ({listing(archives, most=3)}): if they hold pictures only, put a file of rows beside them; if "
        "there is one in them, unpack them and choose dataset=jsonl or dataset=parquet."
    )
    there = shape_of(dataset.data.table.schema)
    for column, key in columns.named.items():
        if path_of(there, column) is None:
            fields = f"; {found}" if (found := inside(there, column)) else ""
            raise ValueError(
                f"{name} has no column {column!r}; it has {listing(dataset.column_names)}{fields}. "
                f"Set dataset.source.columns.{key}.{packed if archives else ''}"
            )
    features = {column: cell(dataset.features, column) for column in (*dataset.column_names, *columns.named)}
    labels: dict[str, Sequence[str]] = {c: feature.names for c, feature in features.items() if hasattr(feature, "names")}
    return ArrowTable(
        dataset.data.table,
        name=name,
        needed=[*columns.named],
        images=columns.image_columns,
        labels=labels,
        largest=largest,
    )


def check_card(card: Path, *, name: str) -> None:
    """Raise ValueError for a card that names files inside other files: the library would open those."""
    check_regular(card)
    if not card.exists():
        return
    with card.open(encoding="utf-8", errors="replace") as text:
        named = text.read(LONGEST_HEAD).split("\n---", 1)[0]
    if "data_files" in named and "::" in named:
        raise ValueError(
            f"{name}: its card ({card.name}) names files inside of other files by '::', which are not read. "
            "Correct data_files there: unpack them and name the files themselves."
        )


def check_files(files: Iterable[str], *, folder: Path | None, name: str) -> None:
    """Raise ValueError for files that the card names and that are not the data set's own, before any is read."""
    allowed = [path.resolve() for path in (folder, *blobs_of(folder.absolute()))] if folder else []
    for file in files:
        own = any(map(Path(file).resolve().is_relative_to, allowed)) if folder else file.startswith("hf://datasets/")
        if not own or "::" in file:
            raise ValueError(
                f"{name}: its card (README.md) names {shortened(file, most=200)} as one of its files, which it is not. "
                "Only files of the set itself are read; correct data_files there if you trust it."
            )
        if folder:
            check_regular(Path(file))


def files_of(builder: Any) -> list[str]:
    """All files of a builder of the library `datasets`."""
    return [*chain.from_iterable((builder.config.data_files or {}).values())]


def tables_beside(files: Sequence[str], *, folder: Path | None) -> dict[str, list[str]]:
    """The tables of a folder where the library would read archives or pictures beside them as rows; else empty."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    names = [Path(file).name.lower() for file in files]
    if folder is None or not names or all(name.endswith(TABLES) for name in names):
        return {}
    if any(name.startswith("metadata.") for name in names):  # of pictures in a folder: the library reads both
        return {}
    everything = DataFilesDict.from_patterns(get_data_patterns(str(folder)), base_path=str(folder))
    for kind in TABLES:
        found = {str(split): [file for file in members if file.lower().endswith(kind)] for split, members in everything.items()}
        if any(found.values()):
            return {split: members for split, members in found.items() if members}
    return {}
