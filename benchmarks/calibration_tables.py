"""The tables of calibration.py in Markdown, and the bars they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calibration import Measured

LEAST_COVERAGE, MOST_DECISIONS, POWER_ERROR = 0.93, 0.055, 0.05


@dataclass(frozen=True, kw_only=True)
class Report:
    """The text between the markers, and a line for each bar that was missed."""

    text: str
    missed: tuple[str, ...]


def tables(measured: Sequence[Measured], *, replications: int) -> Report:
    """All blocks, one after another."""
    blocks: dict[str, list[Measured]] = {}
    for one in measured:
        blocks.setdefault(one.cell.block, []).append(one)
    missed = tuple(missed_bars(measured))
    parts = [
        _summary(measured, replications=replications, missed=missed),
        _main(blocks, paired=True),
        _main(blocks, paired=False),
        _images(blocks),
        _three_seeds(blocks["three seeds"]),
        _collapse(blocks["collapse"]),
        _flags(blocks["power 0.8"]),
    ]
    return Report(text="\n\n".join(parts), missed=missed)


def missed_bars(measured: Sequence[Measured]) -> Iterator[str]:
    """A line for each bar that a cell missed; the collapse is not covered and has none."""
    for one in measured:
        cell = one.cell
        name = f"{cell.block}, {'paired' if cell.paired else 'unpaired'}, {_design(one)}"
        if cell.block != "collapse" and one.coverage < LEAST_COVERAGE:
            yield f"{name}: coverage {percent(one.coverage)} %, the bar is 93 %."
        if cell.block in ("A/A", "no mean gain", "images, no mean gain") and one.decisions > MOST_DECISIONS:
            yield f"{name}: a difference is claimed in {percent(one.decisions)} % where there is none, the bar is 5.5 %."
        if abs(one.outcomes["improvement"] - cell.predicted) > POWER_ERROR:
            yield f"{name}: predicted power {percent(cell.predicted)} %, simulated {percent(one.outcomes['improvement'])} %."


def _summary(measured: Sequence[Measured], *, replications: int, missed: Sequence[str]) -> str:
    covered = [one.coverage for one in measured if one.cell.block != "collapse"]
    same = [one.decisions for one in measured if one.cell.block == "A/A"]
    shifted = [one.decisions for one in measured if "no mean gain" in one.cell.block]
    errors = [one.outcomes["improvement"] - one.cell.predicted for one in measured if one.cell.block.startswith("power")]
    lines = [
        f"{replications:,} replications of each cell. Over all cells but those with collapsing seeds:",
        "",
        f"- Coverage of the 95 % interval for new seeds and new questions: {between(covered)} % (bar: at least 93 %).",
        f"- A difference claimed in A/A, where there is none: {between(same)} % (bar: at most 5.5 %).",
        f"- The same where questions respond to training, some up, some down, and the mean does not move: {between(shifted)} %.",
        f"- Simulated minus predicted power: {100 * min(errors):+.1f} to {100 * max(errors):+.1f} points (bar: within 5).",
        f"- Bars missed: {len(missed) or 'none'}.",
    ]
    return "\n".join([*lines, *(f"  - {line}" for line in missed)])


def _main(blocks: dict[str, list[Measured]], *, paired: bool) -> str:
    columns = [
        [one for one in blocks[name] if one.cell.paired == paired] for name in ("A/A", "no mean gain", "power 0.8", "power 0.5")
    ]
    rows = []
    for same, shifted, strong, weak in zip(*columns, strict=True):
        rows.append(
            [
                *_design_cells(same),
                percent(strong.coverage),
                percent(same.decisions),
                percent(shifted.decisions),
                f"{percent(strong.cell.world.gain)} → {percent(strong.outcomes['improvement'])}",
                f"{percent(weak.cell.world.gain)} → {percent(weak.outcomes['improvement'])}",
            ]
        )
    title = "Against the own vanilla model, paired by seed" if paired else "Against another trained arm, unpaired"
    head = ("Coverage, %", "A/A claims, %", "Claims, mean gain 0, %", "Gain for 80 % → found, %", "Gain for 50 % → found, %")
    return table(title, head=(*DESIGN, *head), rows=rows)


def _images(blocks: dict[str, list[Measured]]) -> str:
    pairs = zip(blocks["images"], blocks["images, no mean gain"], strict=True)
    rows = [
        [str(gain.cell.seeds), str(gain.cell.questions), str(gain.cell.questions // 3), *map(percent, figures)]
        for gain, none in pairs
        for figures in [(gain.coverage, gain.coverage_without_images, none.decisions)]
    ]
    head = ("Seeds", "Questions", "Images", "Coverage, %", "… had images been ignored, %", "Claims, mean gain 0, %")
    return table(
        "Three questions on each image, whose responses go together (paired, seeds spread 2 points)", head=head, rows=rows
    )


def _three_seeds(measured: Sequence[Measured]) -> str:
    names = ("improvement", "harm", "no difference", "open")
    rows = [
        [percent(one.cell.world.gain), *_design_cells(one)[1:], *(percent(one.outcomes[name]) for name in names)]
        for one in measured
    ]
    head = ("True gain, points", *DESIGN[1:], "Improvement, %", "Harm, %", "No difference > 2, %", "No evidence either way, %")
    return table("What three seeds say (paired)", head=head, rows=rows)


def _collapse(measured: Sequence[Measured]) -> str:
    rows = [
        [str(one.cell.seeds), percent(one.cell.world.true_gain()), *map(percent, (one.coverage, one.decisions, one.caught))]
        for one in measured
    ]
    head = ("Seeds", "True gain, points", "Coverage, %", "Something claimed, %", "A single collapsed run is flagged, %")
    title = "Not covered: each seed collapses with probability 20 % (else +5 points; 600 questions, seeds spread 2 points)"
    return table(title, head=head, rows=rows)


def _flags(measured: Sequence[Measured]) -> str:
    rows = [[*_design_cells(one), percent(one.flags)] for one in measured if one.cell.paired]
    return table(
        "A run flagged as far from the other seeds though none collapsed", head=(*DESIGN, "Arms with a flag, %"), rows=rows
    )


DESIGN = ("Seeds", "Questions", "Seeds spread, points")


def _design(one: Measured) -> str:
    return ", ".join(f"{name.lower()} {value}" for name, value in zip(DESIGN, _design_cells(one), strict=True))


def _design_cells(one: Measured) -> list[str]:
    return [str(one.cell.seeds), str(one.cell.questions), percent(one.cell.world.seed_spread)]


def percent(share: float) -> str:
    """Percent or points, without the unit."""
    return f"{100 * share:.1f}"


def between(shares: Sequence[float]) -> str:
    """Lowest to highest."""
    return f"{percent(min(shares))} to {percent(max(shares))}"


def table(title: str, *, head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 0) -> str:
    """Markdown; the first columns hold words, the others numbers."""
    line: Callable[[Sequence[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    sides = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join([f"**{title}**", "", line(head), line(sides), *map(line, rows)])
