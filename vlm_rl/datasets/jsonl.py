"""Files with one JSON object a line, in the authors' format or any other, in a folder or a dataset repository of the hub."""

from collections.abc import Mapping
from pathlib import Path

from vlm_rl.datasets.columns import AUTHORS, Columns
from vlm_rl.datasets.gold_rules import GoldRules
from vlm_rl.datasets.line_table import LineTable
from vlm_rl.datasets.picture import LARGEST_IMAGE
from vlm_rl.datasets.row import LazyRows
from vlm_rl.datasets.shown import listing
from vlm_rl.datasets.written_picture import PictureFolder, blobs_of


class JsonlSource:
    """One file for each split in `folder`, pictures relative to it; where there is none, `repository_folder` of the `repository`."""

    def __init__(
        self,
        *,
        folder: str | None,
        files: Mapping[str, str],
        columns: Columns = AUTHORS,
        repository: str | None = None,
        repository_folder: str = ".",
        revision: str | None = None,
        largest_image: int = LARGEST_IMAGE,
        answer_pattern: str | None = None,  # what cuts the gold out of the answer column
        ordered_lists: bool = False,  # the gold `3, 1, 2` is right in that order only
    ) -> None:
        self._golds = GoldRules.of(answer_pattern=answer_pattern, ordered_lists=ordered_lists)
        self._folder, self._files, self._columns = folder, dict(files), columns
        self._repository, self._repository_folder, self._revision = repository, repository_folder, revision
        self._largest_image = largest_image
        self._pictures: dict[Path, PictureFolder] = {}  # splits of one folder share their pictures

    def rows(self, split: str) -> LazyRows:
        """All rows of a split's file, made when they are asked for; then a bad line raises BadRow."""
        path, stores = self._file(split)
        table = LineTable(path, largest=self._largest_image)
        if not len(table):
            raise ValueError(f"{path} holds no row (split {split!r}).")
        if path.parent not in self._pictures:
            self._pictures[path.parent] = PictureFolder(path.parent, largest=self._largest_image, stores=stores)
        pictures = self._pictures[path.parent]

        return self._columns.rows(table, split=split, pictures=pictures, golds=self._golds, lists=table.lists())

    def _file(self, split: str) -> tuple[Path, tuple[Path, ...]]:
        """The file of a split, and where the links of the download cache lead that it may be in."""
        if split not in self._files:
            raise ValueError(f"dataset.source.files names no file for split {split!r}, only for {', '.join(self._files)}.")
        stores: tuple[Path, ...] = ()
        if self._repository is None or (self._folder is not None and Path(self._folder).is_dir()):
            folder = Path(self._folder or ".")
            advice = f"dataset.source.folder must name the folder that holds {', '.join(self._files.values())}."
        else:
            snapshot = self._snapshot(self._repository)
            folder = snapshot / self._repository_folder
            stores = blobs_of(snapshot)
            found = sorted(str(file.relative_to(snapshot)) for file in snapshot.rglob("*") if file.suffix in (".jsonl", ".zip"))
            advice = (
                f"{self._repository} holds {listing(found) or 'no JSONL file'} there. Set dataset.source.repository_folder "
                "and files; archives must be unpacked by hand, then set dataset.source.folder."
            )
        path = folder / self._files[split]
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there (split {split!r}). {advice}")
        return path, stores

    def _snapshot(self, repository: str) -> Path:
        from huggingface_hub import snapshot_download  # only here: a folder needs no hub

        inside = self._repository_folder
        try:
            path = snapshot_download(
                repository,
                repo_type="dataset",
                revision=self._revision,
                allow_patterns=None if inside == "." else f"{inside}/*",
            )
        except (OSError, ValueError) as error:
            include = "" if inside == "." else f" --include '{inside}/*'"
            raise FileNotFoundError(
                f"{self._folder} is not there, and {repository} could not be fetched from the hub "
                f"({type(error).__name__}: {str(error).splitlines()[0]}). Where there is internet:\n"
                f"  hf download {repository} --repo-type dataset{include} --local-dir data\n"
                f"Then set dataset.source.folder to the copy of data/{inside.strip('.')}."
            ) from error
        return Path(path)
