"""The pictures that the rows of one file may name: those in its folder, each file once."""

from os.path import normpath
from pathlib import Path

from vlm_rl.datasets.lazy_rows import BadRow
from vlm_rl.datasets.picture import LARGEST_IMAGE, Picture, picture_file


class PictureFolder:
    """Names relative to `folder` become image files; rows that name the same file share it, and so its hash and size.

    A name must not leave the folder, neither by `..` nor by a link that points outside. `store` is where the links of a
    download cache lead, which are the one exception.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST_IMAGE, store: Path | None = None) -> None:
        self._folder, self.largest = folder.absolute(), largest
        self._allowed = [path.resolve() for path in (folder, store) if path is not None]
        self._known: dict[str, Picture] = {}

    def picture(self, name: str, *, where: str) -> Picture:
        """The file of that name; whether it exists is found when it is opened. Raises BadRow for one outside."""
        if name not in self._known:
            path = Path(normpath(self._folder / name))
            if not (any(map(path.is_relative_to, (self._folder, *self._allowed))) and self._leads_inside(path)):
                raise BadRow(f"{where}: image {name!r} leaves the folder of the file; keep images beside or below it.")
            self._known[name] = picture_file(path, largest=self.largest)
        return self._known[name]

    def _leads_inside(self, path: Path) -> bool:
        try:
            return any(map(path.resolve().is_relative_to, self._allowed))
        except (OSError, ValueError, RuntimeError):  # a name with a null byte, a circle of links
            return False
