"""How an arm looks wherever it is drawn or named: colour, marker and line by its place among the arms. No two places look alike.

The eight colours were searched for, from the hues of Okabe and Ito: each on its page has a contrast of 3 : 1 at least, and any two
lie apart for normal and for colour-blind eyes (tests/reports/test_arm_styles.py measures both). Further arms begin again with a
broken line.
"""

PALETTE = ("#414899", "#ec5022", "#537e75", "#c95eb3", "#7d541a", "#2a8eef", "#2a1363", "#581d0e")  # on white
DARK_PALETTE = ("#457cfd", "#e26b1b", "#88ba87", "#d38dd9", "#dcd838", "#88e0f7", "#805f95", "#f4fed9")  # in dark mode
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # arms are told apart in black and white too
GLYPHS = "●■▲◆▼✚✖★"  # the markers as text
LONG_DASH, DOT = (7.0, 2.0), (1.5, 2.0)  # ink and gap, in line widths

Dashes = str | tuple[float, tuple[float, ...]]  # a line style of matplotlib


def color_of(place: int) -> str:
    """In figures; on the page the variable --arm-0, --arm-1, ... of `variable_of`."""
    return PALETTE[place % len(PALETTE)]


def variable_of(place: int) -> int:
    """Which of the page's colours an arm has."""
    return place % len(PALETTE)


def marker_of(place: int) -> str:
    """The marker of the arm's points."""
    return MARKERS[place % len(MARKERS)]


def line_of(place: int) -> Dashes:
    """Solid for the first arms, then long dashes, then a dot more between them each time the colours are used up."""
    rounds = place // len(PALETTE)
    return (0.0, LONG_DASH + DOT * (rounds - 1)) if rounds else "-"


def glyph_of(place: int) -> str:
    """Marker and line as text, for a legend: `●——`, for the ninth arm `●– –`."""
    rounds = place // len(PALETTE)
    line = f"–{'·' * (rounds - 1) or ' '}–" if rounds else "——"
    return f"{GLYPHS[place % len(GLYPHS)]}{line}"
