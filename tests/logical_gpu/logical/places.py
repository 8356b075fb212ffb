"""Where in the source something happened: the innermost line that is neither torch's nor the logical GPU's own."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

HERE = str(Path(__file__).parent) + os.sep
PACKAGE = str(Path(__file__).parents[3] / "vlm_rl") + os.sep
ROOT = str(Path(__file__).parents[3]) + os.sep
_SKIPPED = (str(Path(torch.__file__).parent) + os.sep, HERE, "<")  # "<": generated code, as wrappers that check types
_SKIPPED_PARTS = (f"{os.sep}jaxtyping{os.sep}", f"{os.sep}beartype{os.sep}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A line, and the line of the package that led to it."""

    line: str  # "vlm_rl/types.py:150 in Trajectory.select"
    function: str  # "types.py:Trajectory.select" in the package, else "" : what the allowlist names
    through: str  # the innermost line of the package, where the line itself is a library's; else ""

    def __str__(self) -> str:
        return f"{self.line}, called by {self.through}" if self.through else self.line


def here() -> Place:
    """The place that runs now."""
    first = _outward(sys._getframe(1), inside="")
    if first is None:
        return Place(line="?", function="", through="")
    if first.f_code.co_filename.startswith(PACKAGE):
        return Place(line=_line(first), function=_function(first), through="")
    ours = _outward(first, inside=PACKAGE)
    return Place(line=_line(first), function="", through="" if ours is None else _line(ours))


def is_called_by(file_ends: str, name_ends: tuple[str, ...]) -> bool:
    """Whether a function of a file, by the ends of their names, is running further out."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith(file_ends) and frame.f_code.co_name.endswith(name_ends):
            return True
        frame = frame.f_back
    return False


def _outward(frame: FrameType | None, *, inside: str) -> FrameType | None:
    while frame is not None and (_is_skipped(frame.f_code.co_filename) or not frame.f_code.co_filename.startswith(inside)):
        frame = frame.f_back
    return frame


def _is_skipped(file: str) -> bool:
    return file.startswith(_SKIPPED) or any(part in file for part in _SKIPPED_PARTS)


def _line(frame: FrameType) -> str:
    file = frame.f_code.co_filename.split(f"site-packages{os.sep}")[-1].removeprefix(ROOT)
    return f"{file}:{frame.f_lineno} in {_name(frame)}"


def _function(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{_name(frame)}"


def _name(frame: FrameType) -> str:
    """The function, without the comprehension inside of it: Python 3.12 has no frame of its own for one."""
    return frame.f_code.co_qualname.split(".<locals>.<")[0]
