"""Files with one JSON object a line, in the authors' format or any other, in a folder or a dataset repository of the hub."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlm_rl.datasets.columns import AUTHORS, Columns
from vlm_rl.datasets.gold_rules import GoldRules
from vlm_rl.datasets.line_table import LineTable
from vlm_rl.datasets.picture import LARGEST_IMAGE
from vlm_rl.datasets.row import LazyRows
from vlm_rl.datasets.shown import listing
from vlm_rl.datasets.written_picture import PictureFolder, blobs_of


@dataclass(kw_only=True, eq=False)
class ColumnSource:
    """The settings of every source that maps columns to rows."""

    columns: Columns
    largest_image: int = LARGEST_IMAGE
    answer_pattern: str | None = None  # cuts the gold out of the answer column
    ordered_lists: bool = False  # the gold `3, 1, 2` is right in that order only
    golds: GoldRules = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.golds = GoldRules(answer_pattern=self.answer_pattern, ordered_lists=self.ordered_lists)


@dataclass(kw_only=True, eq=False)
class FileSource(ColumnSource):
    """A source whose splits are files named in the config."""

    files: Mapping[str, str]

    def file_of(self, split: str) -> str:
        """What the config names for a split. Raises ValueError naming the key."""
        if split not in self.files:
            raise ValueError(f"dataset.source.files names no file for split {split!r}, only for {', '.join(self.files)}.")
        return self.files[split]

    @property
    def folder_advice(self) -> str:
        """What to set where a file is missing."""
        return f"dataset.source.folder must name the folder that holds {', '.join(self.files.values())}."


@dataclass(kw_only=True, eq=False)
class JsonlSource(FileSource):
    """One file for each split; `folder` is what their names are relative to, pictures are relative to their file.

    Where `folder` is not there and a `repository` is named, its `repository_folder` stands in for it.
    """

    folder: str | None
    columns: Columns = AUTHORS
    repository: str | None = None
    repository_folder: str = "."
    revision: str | None = None
    _pictures: dict[Path, PictureFolder] = field(default_factory=dict, init=False, repr=False)  # splits of a folder share them

    def rows(self, split: str) -> LazyRows:
        """The rows of a split's file, built on access; access to a bad line raises BadRow."""
        path, stores = self._file(split)
        table = LineTable(path, largest=self.largest_image)
        if not len(table):
            raise ValueError(f"{path} holds no row (split {split!r}).")
        if path.parent not in self._pictures:
            self._pictures[path.parent] = PictureFolder(path.parent, largest=self.largest_image, stores=stores)
        pictures = self._pictures[path.parent]
        return self.columns.rows(table, split=split, pictures=pictures, golds=self.golds)

    def _file(self, split: str) -> tuple[Path, tuple[Path, ...]]:
        """The file of a split, and the folder that links of the download cache lead to, if it is in there."""
        name = self.file_of(split)
        stores: tuple[Path, ...] = ()
        if self.repository is None or (self.folder is not None and Path(self.folder).is_dir()):
            folder = Path(self.folder or ".")
            advice = self.folder_advice
        else:
            snapshot = self._snapshot(self.repository)
            folder = snapshot / self.repository_folder
            stores = blobs_of(snapshot)
            found = sorted(str(file.relative_to(snapshot)) for file in snapshot.rglob("*") if file.suffix in (".jsonl", ".zip"))
            advice = (
                f"{self.repository} holds {listing(found) or 'no JSONL file'} there. Set dataset.source.repository_folder "
                "and files; archives must be unpacked by hand, then set dataset.source.folder."
            )
        path = folder / name
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there (split {split!r}). {advice}")
        return path, stores

    def _snapshot(self, repository: str) -> Path:
        from huggingface_hub import snapshot_download  # only here: a folder needs no hub

        inside = self.repository_folder
        try:
            path = snapshot_download(
                repository,
                repo_type="dataset",
                revision=self.revision,
                allow_patterns=None if inside == "." else f"{inside}/*",
            )
        except (OSError, ValueError) as error:
            include = "" if inside == "." else f" --include '{inside}/*'"
            raise FileNotFoundError(
                f"{self.folder} is not there, and {repository} could not be fetched from the hub "
                f"({type(error).__name__}: {str(error).splitlines()[0]}). Where there is internet:\n"
                f"  hf download {repository} --repo-type dataset{include} --local-dir data\n"
                f"Then set dataset.source.folder to the copy of data/{inside.strip('.')}."
            ) from error
        return Path(path)
