"""Sets of the Hugging Face hub, and Parquet and CSV files, by a mapping of their columns; read by the library `datasets`.

The library copies a split once into its cache (HF_DATASETS_CACHE) and maps it into memory from there; it runs no code of a set.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm_rl.datasets.arrow_table import ArrowTable
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.lazy_rows import LazyRows
from vlm_rl.datasets.picture import LARGEST_IMAGE
from vlm_rl.datasets.picture_folder import PictureFolder

BUILDERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}


class HubSource:
    """A set by its name on the hub, or a folder with a copy of it. `splits` says which of its splits is train, val and test."""

    def __init__(
        self,
        *,
        path: str,
        splits: Mapping[str, str],  # a part of a split is one, too: train[:90%]
        columns: Columns,
        name: str | None = None,  # which of its configurations, where it has several
        revision: str | None = None,
        largest_image: int = LARGEST_IMAGE,
    ) -> None:
        self._path, self._splits, self._columns = path, dict(splits), columns
        self._name, self._revision, self._largest_image = name, revision, largest_image

    def rows(self, split: str) -> LazyRows:
        """The rows of a split, made when they are asked for; then a bad one raises BadRow."""
        if split not in self._splits:
            raise ValueError(f"dataset.source.splits does not say which split of {self._path} is {split!r}.")
        theirs = self._splits[split]
        local = Path(self._path).is_dir()

        def load() -> Any:
            from datasets import load_dataset

            return load_dataset(self._path, self._name, split=theirs, revision=None if local else self._revision)

        dataset = _opened(
            load,
            what=f"{self._path} (split {theirs!r})",
            absent=f"Where there is internet: hf download {self._path} --repo-type dataset --local-dir COPY. "
            "Then set dataset.source.path=COPY.",
            wrong=f"dataset.source.splits.{split} must name one of its splits, or a part of one such as 'train[90%:]'; "
            "dataset.source.name its configuration, where it has several.",
        )
        pictures = _pictures(Path(self._path) if local else None, largest=self._largest_image)
        return _rows(dataset, name=f"{self._path}, split {theirs}", split=split, columns=self._columns, pictures=pictures)


class TableSource:
    """Parquet or CSV files, one or several for each split (data/train-*.parquet); `folder` is what their names are relative to."""

    def __init__(self, *, folder: str, files: Mapping[str, str], columns: Columns, largest_image: int = LARGEST_IMAGE) -> None:
        self._folder, self._files, self._columns, self._largest_image = Path(folder), dict(files), columns, largest_image

    def rows(self, split: str) -> LazyRows:
        """The rows of a split, made when they are asked for; then a bad one raises BadRow. Pictures are relative to the files."""
        if split not in self._files:
            raise ValueError(f"dataset.source.files names no file for split {split!r}, only for {', '.join(self._files)}.")
        pattern = self._folder / self._files[split]
        if pattern.suffix not in BUILDERS:
            raise ValueError(f"{pattern}: dataset=parquet reads {', '.join(BUILDERS)} files; dataset=jsonl reads JSONL.")
        paths = sorted(map(str, self._folder.glob(self._files[split])))
        if not paths:
            raise FileNotFoundError(
                f"{pattern} is not there (split {split!r}). dataset.source.folder must name the folder that holds "
                f"{', '.join(self._files.values())}."
            )
        options = {"sep": "\t"} if pattern.suffix == ".tsv" else {}

        def load() -> Any:
            from datasets import load_dataset

            return load_dataset(BUILDERS[pattern.suffix], data_files=paths, split="train", **options)

        dataset = _opened(load, what=str(pattern), absent="It must be readable.", wrong="Write the file again.")
        pictures = PictureFolder(pattern.parent, largest=self._largest_image)
        return _rows(dataset, name=str(pattern), split=split, columns=self._columns, pictures=pictures)


def _pictures(folder: Path | None, *, largest: int) -> PictureFolder:
    """Pictures that are files of a set: in its folder, or where the libraries keep what they downloaded or unpacked."""
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    return PictureFolder(folder or Path(HF_HUB_CACHE), largest=largest, store=Path(HF_DATASETS_CACHE))


def _opened(load: Callable[[], Any], *, what: str, absent: str, wrong: str) -> Any:
    """A set of the library; whatever stops it is told with what to do."""
    try:
        return load()
    except Exception as error:  # the library has dozens of kinds, most of them plain Exceptions
        reason = str(error.__cause__ or error).strip().split("\n")[0].rstrip(".")
        advice = absent if isinstance(error, OSError) else wrong
        raise ValueError(f"{what} cannot be opened: {reason} ({type(error).__name__}). {advice}") from error


def _rows(dataset: Any, *, name: str, split: str, columns: Columns, pictures: PictureFolder) -> LazyRows:
    for column, key in columns.named.items():
        if column not in dataset.column_names:
            raise ValueError(
                f"{name} has no column {column!r}; it has {', '.join(dataset.column_names)}. Set dataset.source.columns.{key}."
            )
    labels: dict[str, Sequence[str]] = {
        column: feature.names for column, feature in dataset.features.items() if hasattr(feature, "names")
    }
    table = ArrowTable(
        dataset.data.table,
        name=name,
        needed=[*columns.named],
        images=columns.image_columns,
        labels=labels,
        largest=pictures.largest,
    )
    return columns.rows(table, split=split, pictures=pictures)
