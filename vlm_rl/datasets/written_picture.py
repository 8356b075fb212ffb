"""Pictures as text (base64, `data:` URLs, lists of them), recognised by their first bytes, and pictures in a folder."""

import binascii
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from os.path import normpath
from pathlib import Path
from typing import Any

from vlm_rl.datasets.picture import FORMATS, LARGEST_FILE, LARGEST_IMAGE, MemoryBytes, Picture, picture_file
from vlm_rl.datasets.row import BadRow
from vlm_rl.datasets.shown import shown

Text = bytes | memoryview
Span = tuple[int, int]  # start and end of a picture in a text

LONGEST_NAME = 4096  # bytes; no system has longer file names
LONGEST_PART = 255  # bytes between two slashes of a name
HEAD = 512  # bytes that are checked
ADDRESS = re.compile(rb"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
LIST = re.compile(rb"""\s*+\[\s*+(?:(?:'[^']*+'|"[^"]*+")\s*+,?+\s*+)*+\]\s*+""")  # as Python, JSON or NumPy print it
MEMBER = re.compile(rb"""'([^']*+)'|"([^"]*+)\"""")
SIGNATURE = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # BMP by the length of its header, too: two letters are too few
    re.DOTALL,
)
BLANK = b" \t\r\n\v\f"
USUAL = bytes.maketrans(b"-_", b"+/")  # URL-safe base64 has these two letters
REMEMBERED = 10_000  # pictures in a cache; with hash and size 1.5 kB each


def written_picture(read: Callable[[], Text], span: Span, *, where: str, largest: int) -> Picture:
    """The picture at `span` of a text, read and decoded again each time it is opened."""

    def decoded() -> bytes:
        start, end = span
        return _decoded(read()[start:end])

    return Picture(content=MemoryBytes(read=decoded), where=where, largest=largest)


def spans_of(text: Text) -> list[Span]:
    """The spans of the pictures in a text that is a picture or a list of pictures; empty for any other text."""
    spans = _members(text) if bytes(text[:HEAD]).lstrip().startswith(b"[") else [(0, len(text))]
    return spans if all(is_picture(text[start:end]) for start, end in spans) else []


def is_picture(text: Text) -> bool:
    """Whether the text is a picture in base64, by its beginning. One that could be a file name must be base64 to its end."""
    try:
        head = _decoded(text) if len(text) <= LONGEST_NAME else _decoded_head(text)
    except ValueError:
        return False
    return SIGNATURE.match(head) is not None


def can_be_a_name(text: str) -> bool:
    """Whether a file can have this name."""
    name = text.encode(errors="surrogateescape")
    return len(name) <= LONGEST_NAME and max(map(len, name.split(b"/"))) <= LONGEST_PART


def names_in(value: Any) -> list[Any]:
    """The members of a list written as text; any other value as a list of one."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return [value]
    text = value.encode(errors="surrogateescape")
    members = [text[start:end].decode(errors="surrogateescape") for start, end in _members(text)]
    return members or ([] if LIST.fullmatch(text) else [value])


def _members(text: Text) -> list[Span]:
    if LIST.fullmatch(text) is None:
        return []
    return [match.span(1 if match[1] is not None else 2) for match in MEMBER.finditer(text)]


def _address(text: Text) -> int:
    """The length of the part of a `data:` URL before its base64; 0 for any other text."""
    match = ADDRESS.match(text)
    return match.end() if match else 0


def _decoded_head(text: Text) -> bytes:
    start = _address(text)
    letters = bytes(text[start : start + HEAD]).translate(USUAL, BLANK)
    return binascii.a2b_base64(letters[: len(letters) // 4 * 4], strict_mode=True)


def _decoded(text: Text) -> bytes:
    if len(text) * 3 // 4 > LARGEST_FILE:
        raise ValueError(f"its {len(text):,} characters are more than a picture file may have ({LARGEST_FILE:,} bytes)")
    letters = bytes(text[_address(text) :]).translate(USUAL, BLANK)
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"its base64 is damaged ({error})") from error


class PictureFolder:
    """Image files by their names relative to `folder`; rows with the same name share the picture, its hash and size.

    A name must not leave the folder, neither by `..` nor by a symbolic link. The only exceptions are `stores`: the blobs of the
    download cache, and the cache of unpacked archives.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST_IMAGE, stores: Sequence[Path] = ()) -> None:
        self._folder, self.largest = folder.absolute(), largest
        self._allowed = [path.resolve() for path in (folder, *stores)]
        self._picture = lru_cache(REMEMBERED)(self._picture_of_name)

    def picture(self, name: str, *, where: str) -> Picture:
        """The file of that name, or else the picture that the text is in base64. Raises BadRow."""
        picture = self._picture(name) if can_be_a_name(name) else self._picture_of_text(name)
        if picture is None and can_be_a_name(name):
            raise BadRow(f"{where}: image {shown(name)} leaves the folder of the file; keep images beside or below it.")
        if picture is None:
            raise BadRow(
                f"{where}: image {shown(name)} is too long for the name of a file, and it is no picture in base64 in one of the "
                f"formats {', '.join(FORMATS)}. Give it as one of these, or drop the row."
            )
        return picture

    def _picture_of_name(self, name: str) -> Picture | None:
        path = Path(normpath(self._folder / name))
        inside = any(map(path.is_relative_to, (self._folder, *self._allowed))) and self._leads_inside(path)
        written = self._picture_of_text(name)
        if inside and (written is None or path.is_file()):
            return picture_file(path, largest=self.largest, folder=self._folder)
        return written

    def _picture_of_text(self, text: str) -> Picture | None:
        letters = text.encode(errors="surrogateescape")
        if not is_picture(letters):
            return None
        return written_picture(lambda: letters, (0, len(letters)), where=shown(text), largest=self.largest)

    def _leads_inside(self, path: Path) -> bool:
        try:
            return any(map(path.resolve().is_relative_to, self._allowed))
        except (OSError, ValueError, RuntimeError):  # a null byte in the name, a loop of links
            return False


def blobs_of(folder: Path) -> tuple[Path, ...]:
    """The folder that the links of a snapshot in the hub's download cache lead to; empty for any other folder."""
    return (folder.parents[1] / "blobs",) if folder.parent.name == "snapshots" else ()
