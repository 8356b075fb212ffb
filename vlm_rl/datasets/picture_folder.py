"""The pictures that the rows of one file may name: those in its folder."""

from collections.abc import Sequence
from functools import lru_cache
from os.path import normpath
from pathlib import Path

from vlm_rl.datasets.lazy_rows import BadRow
from vlm_rl.datasets.picture import FORMATS, LARGEST_IMAGE, Picture, picture_file
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.written_picture import can_be_a_name, is_picture, written_picture

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
        """The file of that name, or the picture that the text itself is in base64. Raises BadRow.

        Whether a file exists is found when it is opened; but one that has the name of a picture in base64 comes first.
        """
        picture = self._picture(name) if can_be_a_name(name) else self._written(name)
        if picture is None and can_be_a_name(name):
            raise BadRow(f"{where}: image {shown(name)} leaves the folder of the file; keep images beside or below it.")
        if picture is None:
            raise BadRow(
                f"{where}: image {shown(name)} is too long for the name of a file, and it is no picture in base64 in one of the "
                f"formats {', '.join(FORMATS)}. Give it as one of these, or drop the row."
            )
        return picture

    def _made(self, name: str) -> Picture | None:
        path = Path(normpath(self._folder / name))
        inside = any(map(path.is_relative_to, (self._folder, *self._allowed))) and self._leads_inside(path)
        written = self._written(name)
        if inside and (written is None or path.is_file()):
            return picture_file(path, largest=self.largest, folder=self._folder)
        return written

    def _written(self, text: str) -> Picture | None:
        letters = text.encode(errors="surrogateescape")
        if not is_picture(letters):
            return None
        return written_picture(lambda: letters, (0, len(letters)), where=shown(text), largest=self.largest)

    def _leads_inside(self, path: Path) -> bool:
        try:
            return any(map(path.resolve().is_relative_to, self._allowed))
        except (OSError, ValueError, RuntimeError):  # a name with a null byte, a circle of links
            return False


def blobs_of(folder: Path) -> tuple[Path, ...]:
    """Where the links of a folder lead that the hub's download cache made; nothing for any other folder."""
    return (folder.parents[1] / "blobs",) if folder.parent.name == "snapshots" else ()
