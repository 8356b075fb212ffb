"""The tables of sequential_calibration.py in Markdown, and the bars they are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from calibration_tables import Report, between, percent, table

if TYPE_CHECKING:
    from sequential_calibration import Measured

MOST_CLAIMS, MOST_IMPROVEMENTS, LEAST_COVERAGE, MOST_POWER_LOST = 0.055, 0.03, 0.93, 0.03
MOST_SEEDS_WITHOUT_EFFECT, MOST_SEEDS, POWERFUL = 0.7, 0.65, 0.8
NAMES = {"obrien_fleming": "O'Brien-Fleming-like", "pocock": "Pocock-like"}


def report_of(measured: Sequence[Measured], *, replications: int) -> Report:
    """All tables, and a line for each bar that was missed."""
    missed = tuple(line for one in measured for line in missed_bars(one))
    parts = [_summary(measured, replications=replications, missed=missed)]
    for spending in NAMES:
        parts += [_errors(measured, spending=spending), _savings(measured, spending=spending)]
    return Report(text="\n\n".join(parts), missed=missed)


def missed_bars(one: Measured) -> Iterator[str]:
    """A line for each bar that a cell missed."""
    name = f"{NAMES[one.spending]}, {', '.join(_design(one))}"
    if one.claims > MOST_CLAIMS:
        yield f"{name}: something is claimed in {percent(one.claims)} % where there is nothing, the bar is 5.5 %."
    if one.false_improvements > MOST_IMPROVEMENTS:
        yield f"{name}: an improvement is claimed in {percent(one.false_improvements)} % where there is none, the bar is 3 %."
    if one.coverage < LEAST_COVERAGE:
        yield f"{name}: the interval at the stop covers in {percent(one.coverage)} %, the bar is 93 %."
    if one.cell.has_effect and one.fixed - one.improvements > MOST_POWER_LOST:
        yield f"{name}: {percent(one.improvements)} % found, by the fixed design {percent(one.fixed)} %, the bar is 3 points."
    if one.cell.has_effect and one.fixed >= POWERFUL and one.seeds > MOST_SEEDS:
        yield f"{name}: {one.seeds:.2f} of the seeds where {percent(one.fixed)} % are found, the bar is 0.65."
    if not one.cell.has_effect and one.seeds > MOST_SEEDS_WITHOUT_EFFECT:
        yield f"{name}: {one.seeds:.2f} of the seeds without an effect, the bar is 0.70."


def _summary(measured: Sequence[Measured], *, replications: int, missed: Sequence[str]) -> str:
    lines = [
        f"{replications:,} replications of each cell, looks at 3, 5, 7 and 10 seeds, futility at a conditional power below 5 %.",
        "",
    ]
    for spending, name in NAMES.items():
        own = [one for one in measured if one.spending == spending]
        nothing, something = ([one for one in own if one.cell.has_effect == has] for has in (False, True))
        powerful = [one for one in something if one.fixed >= POWERFUL]
        lost = [one.fixed - one.improvements for one in something]
        judged = [one for one in own if not math.isnan(one.claims)]
        num_short = sum(one.seeds <= MOST_SEEDS for one in powerful)
        lines += [
            f"- {name}: anything claimed where there is nothing in {between([one.claims for one in judged])} % "
            f"(bar: 5.5 %), an improvement in {between([one.false_improvements for one in judged])} % (bar: 3 %).",
            f"  - Coverage of the interval at the stop: {between([one.coverage for one in own])} % (bar: at least 93 %).",
            f"  - Power below that of the fixed design by {100 * min(lost):.1f} to {100 * max(lost):.1f} points (bar: at most 3).",
            f"  - Expected seeds, as a share of the largest: without an effect {_shares(nothing)} (bar: 0.70); where the fixed design "
            f"finds 80 % or more {_shares(powerful)}, at most 0.65 in {num_short} of {len(powerful)} cells.",
        ]
    kinds = {kind: sum(kind in line for line in missed) for kind in ("5.5 %", "bar is 3 %", "93 %", "3 points", "0.65", "0.70")}
    said = ", ".join(f"{kind} in {count}" for kind, count in kinds.items() if count)
    return "\n".join([*lines, f"- Bars missed: {said or 'none'}."])


def _shares(measured: Sequence[Measured]) -> str:
    return f"{min(one.seeds for one in measured):.2f} to {max(one.seeds for one in measured):.2f}" if measured else "–"


def _errors(measured: Sequence[Measured], *, spending: str) -> str:
    own = [one for one in measured if one.spending == spending and not one.cell.has_effect]
    rows = [
        [*_design(one), *map(percent, (one.claims, one.false_improvements, one.coverage)), f"{one.seeds:.2f}"] for one in own
    ]
    head = (*DESIGN, "Anything claimed, %", "Improvement, %", "Coverage, %", "Expected seeds / 10")
    return table(f"{NAMES[spending]}: without an effect", head=head, rows=rows)


def _savings(measured: Sequence[Measured], *, spending: str) -> str:
    own = [one for one in measured if one.spending == spending and one.cell.has_effect]
    rows = [
        [
            *_design(one)[:-1],
            *map(percent, (one.gain, one.fixed, one.improvements, one.coverage)),
            f"{one.seeds:.2f}",
            "–" if math.isnan(one.claims) else percent(one.claims),
        ]
        for one in own
    ]
    head = (
        *DESIGN[:-1],
        *(
            "Gain, points",
            "Found by 10 seeds, %",
            "Found by looks, %",
            "Coverage, %",
            "Expected seeds / 10",
            "Claims of other arms, %",
        ),
    )
    return table(f"{NAMES[spending]}: one arm gains", head=head, rows=rows)


DESIGN = ("Arms", "Reference", "Questions", "Seeds spread, points", "Questions respond")


def _design(one: Measured) -> list[str]:
    cell = one.cell
    reference = "own vanilla" if cell.paired else "trained arm"
    return [str(cell.arms), reference, str(cell.questions), percent(cell.spread), "yes" if cell.response else "no"]
