"""The pictures that the rows of one file may name: those in its folder."""

from collections.abc import Sequence
from functools import lru_cache
from os.path import normpath
from pathlib import Path

from vlm_rl.datasets.lazy_rows import BadRow
from vlm_rl.datasets.picture import LARGEST_IMAGE, Picture, picture_file

REMEMBERED = 10_000  # pictures made last; with their hashes and sizes they take 1.5 kB each


class PictureFolder:
    """Names relative to `folder` become image files; rows that name the same file share it, and so its hash and size.

    A name must not leave the folder, neither by `..` nor by a link that points outside. `stores` are the one exception: where
    the links of a download cache lead, and where a set was unpacked.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST_IMAGE, stores: Sequence[Path] = ()) -> None:
        self._folder, self.largest = folder.absolute(), largest
        self._allowed = [path.resolve() for path in (folder, *stores)]
        self._picture = lru_cache(REMEMBERED)(self._made)

    def picture(self, name: str, *, where: str) -> Picture:
        """The file of that name; whether it exists is found when it is opened. Raises BadRow for one outside."""
        picture = self._picture(name)
        if picture is None:
            raise BadRow(f"{where}: image {name!r} leaves the folder of the file; keep images beside or below it.")
        return picture

    def _made(self, name: str) -> Picture | None:
        path = Path(normpath(self._folder / name))
        if not (any(map(path.is_relative_to, (self._folder, *self._allowed))) and self._leads_inside(path)):
            return None
        return picture_file(path, largest=self.largest)

    def _leads_inside(self, path: Path) -> bool:
        try:
            return any(map(path.resolve().is_relative_to, self._allowed))
        except (OSError, ValueError, RuntimeError):  # a name with a null byte, a circle of links
            return False


def blobs_of(folder: Path) -> tuple[Path, ...]:
    """Where the links of a folder lead that the hub's download cache made; nothing for any other folder."""
    return (folder.parents[1] / "blobs",) if folder.parent.name == "snapshots" else ()
