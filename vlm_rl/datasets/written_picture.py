"""Pictures that are written as text: base64, as VLMEvalKit's TSV files have it, `data:` addresses, and lists of them in one cell.

A text is a picture if it begins with the base64 of what picture files begin with. The rest is decoded when the picture is opened.
"""

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from vlm_rl.datasets.picture import LARGEST_FILE, Picture

Text = bytes | memoryview
Span = tuple[int, int]  # where a picture begins in a text, and its end

LONGEST_NAME = 4096  # bytes; longer texts are no names of files on any system
LONGEST_PART = 255  # bytes between two slashes of a name
HEAD = 512  # bytes that are looked at
ADDRESS = re.compile(rb"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
LIST = re.compile(rb"""\s*+\[\s*+(?:(?:'[^']*+'|"[^"]*+")\s*+,?+\s*+)*+\]\s*+""")  # as Python, JSON or NumPy print it
MEMBER = re.compile(rb"""'([^']*+)'|"([^"]*+)\"""")
SIGNATURE = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # two letters are too few for BMP: the length of its header, too
    re.DOTALL,
)
BLANK = b" \t\r\n\v\f"
USUAL = bytes.maketrans(b"-_", b"+/")  # the alphabet for addresses has these two in place of the usual ones


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenBytes:
    """A picture in base64, read and decoded anew whenever it is opened."""

    read: Callable[[], Text] = field(repr=False)  # the text that it stands in
    span: Span

    def open(self) -> BytesIO:
        start, end = self.span
        return BytesIO(_decoded(self.read()[start:end]))


def written_picture(read: Callable[[], Text], span: Span, *, where: str, largest: int) -> Picture:
    """The picture that stands there in a text."""
    return Picture(content=WrittenBytes(read=read, span=span), where=where, largest=largest)


def spans_of(text: Text) -> list[Span]:
    """Where pictures stand in a text that is one, or a list of them; none in any other."""
    spans = _members(text) if bytes(text[:HEAD]).lstrip().startswith(b"[") else [(0, len(text))]
    return spans if all(is_picture(text[start:end]) for start, end in spans) else []


def is_picture(text: Text) -> bool:
    """Whether it begins as a picture in base64 does. A text that could be a name must be base64 to its end."""
    try:
        head = _decoded(text) if len(text) <= LONGEST_NAME else _decoded_head(text)
    except ValueError:
        return False
    return SIGNATURE.match(head) is not None


def can_be_a_name(text: str) -> bool:
    """Whether any file can be called so."""
    name = text.encode(errors="surrogateescape")
    return len(name) <= LONGEST_NAME and max(map(len, name.split(b"/"))) <= LONGEST_PART


def names_in(value: Any) -> list[Any]:
    """The members of a list that is written as a text; anything else alone."""
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
    """How long what stands before the base64 of a `data:` address is."""
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
