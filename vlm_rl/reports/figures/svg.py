"""Makes matplotlib's SVG small enough to inline by the dozen: tenths of a point, relative moves, no names, no metadata."""

import re
from collections.abc import Sequence

import numpy as np

METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
GROUP_NAME = re.compile(r'<g id="[^"]*"')  # nothing refers to a group
PATH = re.compile(r'(?<=\sd=")[^"]*')
LETTER = re.compile(r"[A-Za-z]")
PLACE = re.compile(r'(?<=\s)(x|y|width|height)="(-?\d+\.\d{2,})"')


def compact_svg(svg: str) -> str:
    """The same picture to a tenth of a point, without what only an editor would read."""
    svg = svg[svg.index("<svg") :]
    svg = GROUP_NAME.sub("<g", METADATA.sub("", svg))
    svg = PLACE.sub(lambda found: f'{found[1]}="{float(found[2]):.1f}"', svg)
    return PATH.sub(lambda found: _compact_path(found[0]), svg)


def _compact_path(path: str) -> str:
    """Straight lines as relative moves; a path with curves, as a marker, is short and loses its line breaks only."""
    if set(LETTER.findall(path)) - set("MLz"):
        return " ".join(path.split())
    return "".join(map(_compact_lines, path.split("M")[1:]))


def _compact_lines(lines: str) -> str:
    """One stroke from its M on, in tenths of a point that are rounded before they are subtracted, so that no error adds up."""
    tenths = np.rint(10 * np.array(lines.replace("L", " ").replace("z", " ").split(), dtype=np.float64).reshape(-1, 2))
    start, *moves = np.diff(tenths, axis=0, prepend=0.0).astype(int).reshape(-1, 2).tolist()
    return f"M{_written([start])}" + f"l{_written(moves)}" * bool(moves) + "z" * lines.rstrip().endswith("z")


def _written(pairs: Sequence[Sequence[int]]) -> str:
    return (
        " ".join(f"{tenth / 10:g}" for pair in pairs for tenth in pair)
        .replace(" -", "-")
        .replace(" 0.", " .")
        .replace("-0.", "-.")
    )
