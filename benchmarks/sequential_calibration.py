"""Is a staged study right as often as it says, and what does it save? python benchmarks/sequential_calibration.py [--replications 10000].

Simulates the rule of vlm_rl/evaluation/sequential/ in the world of calibration.py, cell by cell, writes its tables into docs/statistics.md,
between markers, and ends with 1 where a bar is missed. The bars: improvement + harm without an effect at most 5.5 %, improvement at most
3 %; coverage of the interval at the stop at least 93 %; power within 3 points of the fixed design of the largest size; expected seeds at
most 0.7 of it without an effect, and 0.65 where it has 80 % power.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from calibration import PAGE, PLAIN, RESPONSE, between_markers
from calibration_decisions import Differences, differences, joined
from calibration_world import Answers, World, answer, draw_difficulty
from scipy import optimize
from sequential_rule import Stopped, stopped
from sequential_tables import report_of

from vlm_rl.evaluation.power import power
from vlm_rl.evaluation.sequential.looks import Design
from vlm_rl.evaluation.sequential.spending import Spending

LOOKS, SPREADS, QUESTIONS, ARMS = (3, 5, 7, 10), (0.005, 0.02, 0.05), (100, 600), (1, 2, 3, 4)
SPENDINGS: tuple[Spending, ...] = ("obrien_fleming", "pocock")
POWERS = (0.8, 0.95, 0.99)  # of the fixed design with one arm, for which the gain is set
CHUNK = 6_000_000  # answers at a time


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One simulation. The first arm gains what the fixed design finds with `chance`; the others gain nothing. NaN: none does."""

    spread: float  # of seeds, a share
    questions: int
    arms: int
    chance: float = math.nan
    paired: bool = True
    response: float = RESPONSE  # logits by which questions differ in their response to training, around a mean of 0

    @property
    def has_effect(self) -> bool:
        """Whether the first arm gains anything."""
        return not math.isnan(self.chance)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out of a cell under one way of spending; of the first arm, where it gains, else of all."""

    cell: Cell
    spending: Spending
    gain: float
    claims: float  # chance that anything is claimed of arms that gain nothing
    false_improvements: float
    improvements: float  # of the first arm
    fixed: float  # the same by the fixed design of the largest size
    coverage: float
    seeds: float  # expected, as a share of the largest


def cells() -> Iterator[Cell]:
    """All simulations."""
    for spread, questions in itertools.product(SPREADS, QUESTIONS):
        for arms, chance in itertools.product(ARMS, (math.nan, *POWERS)):
            yield Cell(spread=spread, questions=questions, arms=arms, chance=chance)
        for chance in (math.nan, *POWERS):
            yield Cell(spread=spread, questions=questions, arms=1, chance=chance, paired=False)
        for arms in ARMS:
            yield Cell(spread=spread, questions=questions, arms=arms, response=PLAIN)


def gain_of(cell: Cell) -> float:
    """The gain that the fixed design of one arm finds with the cell's chance."""
    if not cell.has_effect:
        return 0.0

    def missing(gain: float) -> float:
        sizes = (LOOKS[-1],) * (1 if cell.paired else 2)
        return power(gain, variances=_world(cell, gain=gain).variances(), seeds=sizes, questions=cell.questions) - cell.chance

    return float(optimize.brentq(missing, 0.001, 0.45, xtol=1e-5))


def _world(cell: Cell, *, gain: float) -> World:
    return World(gain=gain, seed_spread=cell.spread, response_spread=cell.response, paired=cell.paired)


def measure(numbered: tuple[int, Cell, int]) -> list[Measured]:
    """Simulate one cell under each way of spending; its random stream depends on its number alone."""
    number, cell, replications = numbered
    gain, generator = gain_of(cell), np.random.Generator(np.random.Philox(key=[number, 23]))
    chunk = max(1, CHUNK // (LOOKS[-1] * cell.questions))
    sizes = [min(chunk, replications - start) for start in range(0, replications, chunk)]
    parts = [_looks(cell, gain=gain, replications=size, generator=generator) for size in sizes]
    looks = [joined([part[place] for part in parts]) for place in range(len(LOOKS))]
    return [
        _measured(
            cell, gain=gain, spending=spending, looks=looks, found=stopped(looks, design=Design(seeds=LOOKS, spending=spending))
        )
        for spending in SPENDINGS
    ]


def _measured(cell: Cell, *, gain: float, spending: Spending, looks: list[Differences], found: Stopped) -> Measured:
    truth = np.zeros(cell.arms)
    truth[0] = gain
    same = truth == 0
    asked = slice(0, 1) if cell.has_effect else slice(None)
    fixed = looks[-1].claims_by_holm() & (looks[-1].estimate > 0)
    return Measured(
        cell=cell,
        spending=spending,
        gain=gain,
        claims=float((found.improvement | found.harm)[:, same].any(axis=1).mean()) if same.any() else math.nan,
        false_improvements=float(found.improvement[:, same].any(axis=1).mean()) if same.any() else math.nan,
        improvements=float(found.improvement[:, 0].mean()),
        fixed=float(fixed[:, 0].mean()),
        coverage=float(((found.low <= truth) & (truth <= found.high))[:, asked].mean(axis=0).min()),
        seeds=float(found.seeds[:, asked].mean() / LOOKS[-1]),
    )


def _looks(cell: Cell, *, gain: float, replications: int, generator: np.random.Generator) -> list[Differences]:
    """The differences of all arms at each look, (replications, arms); all arms are compared with the same runs."""
    world, most = _world(cell, gain=gain), LOOKS[-1]
    difficulty = draw_difficulty(generator, replications=replications, questions=cell.questions)
    reference = world.draw_reference(generator, difficulty=difficulty, seeds=most)
    found = []
    for number in range(cell.arms):
        one = world if number == 0 else replace(world, gain=0.0)
        response = one.draw_response(generator, replications=replications, questions=cell.questions)
        runs = one.draw_runs(generator, replications=replications, seeds=most)
        found.append(_at_looks(answer(generator, difficulty + response + runs.shifts), reference=reference, paired=cell.paired))
    return [joined([arm[place] for arm in found], together=np.column_stack) for place in range(len(LOOKS))]


def _at_looks(arm: Answers, *, reference: Answers, paired: bool) -> list[Differences]:
    return [differences(arm[:, :seeds], reference=reference[:, :seeds], paired=paired) for seeds in LOOKS]


def main() -> int:
    """Simulate, write the page, say which bars were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=10_000, help="of each cell")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file that holds the markers")
    options = parser.parse_args()
    started = time.monotonic()
    jobs = [(number, cell, options.replications) for number, cell in enumerate(cells())]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        measured = list(itertools.chain.from_iterable(pool.imap(measure, jobs)))
    report = report_of(measured, replications=options.replications)
    page = between_markers(options.page.read_text(encoding="utf-8"), name="sequential", text=report.text)
    options.page.write_text(page, encoding="utf-8")
    print(
        f"{options.page}: {options.replications:,} replications of each cell in {(time.monotonic() - started) / 60:.1f} minutes."
    )
    print("\n".join(report.missed) or "Every bar is held.")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
