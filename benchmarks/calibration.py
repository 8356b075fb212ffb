"""Is the verdict right as often as it says? Simulated, cell by cell: python benchmarks/calibration.py [--replications 10000].

Writes its tables into docs/statistics.md, between markers, and ends with 1 where a bar is missed. The bars: coverage >= 93 %,
"improvement" or "harm" in A/A <= 5.5 %, predicted power within 5 points; and <= 6 % false claims in the harder worlds
(calibration_robustness.py) that the rule covers.
"""

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
from calibration_alternatives import alternatives
from calibration_decisions import Differences, differences, flagged, joined
from calibration_robustness import simulate, studies
from calibration_robustness_tables import Result, robustness_tables
from calibration_tables import tables
from calibration_world import World
from numpy.typing import NDArray
from scipy import optimize

from vlm_rl.evaluation.power import power

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
SEEDS, QUESTIONS, SPREADS = (3, 5, 10), (100, 600), (0.005, 0.02, 0.05)
PLAIN, RESPONSE = 0.0, 0.5  # logits by which questions differ in their response to training
GAIN = 0.05  # share, where a gain is needed and its size is not the question
SMALLEST_EFFECT = 0.02  # report.smallest_effect
CHUNK = 4_000_000  # answers at a time


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One simulation: a world, a design, and the block of tables that it belongs to."""

    block: str
    world: World
    seeds: int
    questions: int
    chance: float = math.nan  # power for which the gain is set, where that is the question
    predicted: float = math.nan  # power by the formula at the gain so set

    @property
    def paired(self) -> bool:
        """Against the own vanilla model, or against another arm."""
        return self.world.paired


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out of a cell."""

    cell: Cell
    coverage: float
    coverage_without_images: float  # as if every question were a cluster of its own
    outcomes: dict[str, float]
    flags: float  # share of replications in which a run is flagged though none collapsed
    caught: float  # share of single collapsed runs that are flagged

    @property
    def decisions(self) -> float:
        """How often anything is claimed."""
        return self.outcomes["improvement"] + self.outcomes["harm"]


def cells() -> Iterator[Cell]:
    """All simulations, block by block."""
    for paired, seeds, questions, spread in itertools.product((True, False), SEEDS, QUESTIONS, SPREADS):
        nothing = World(gain=0.0, seed_spread=spread, response_spread=PLAIN, paired=paired)
        design = Cell(block="A/A", world=nothing, seeds=seeds, questions=questions)
        yield design
        yield replace(design, block="no mean gain", world=replace(nothing, response_spread=RESPONSE))
        for chance in (0.8, 0.5):
            yield replace(design, block=f"power {chance}", chance=chance)
    for seeds, questions in itertools.product(SEEDS, (99, 600)):
        on_images = World(gain=GAIN, seed_spread=0.02, response_spread=1.0, paired=True, questions_per_image=3, image_share=0.8)
        yield Cell(block="images", world=on_images, seeds=seeds, questions=questions)
        yield Cell(block="images, no mean gain", world=replace(on_images, gain=0.0), seeds=seeds, questions=questions)
    for gain, questions, spread in itertools.product((0.0, 0.02, 0.05, 0.1), QUESTIONS, SPREADS):
        world = World(gain=gain, seed_spread=spread, response_spread=RESPONSE, paired=True)
        yield Cell(block="three seeds", world=world, seeds=3, questions=questions)
    for seeds in SEEDS:
        world = World(gain=GAIN, seed_spread=0.02, response_spread=RESPONSE, paired=True, collapse=0.2)
        yield Cell(block="collapse", world=world, seeds=seeds, questions=600)


def with_gain(cell: Cell) -> Cell:
    """The cell with the gain that the formula says is found with its chance, given the true variances."""
    if math.isnan(cell.chance):
        return cell

    def world(gain: float) -> World:
        return replace(cell.world, gain=gain, response_spread=RESPONSE)

    def predicted(gain: float) -> float:
        sizes = (cell.seeds,) if cell.paired else (cell.seeds, cell.seeds)
        return power(gain, variances=world(gain).variances(), seeds=sizes, questions=cell.questions)

    gain = float(optimize.brentq(lambda gain: predicted(gain) - cell.chance, 0.001, 0.4, xtol=1e-5))
    return replace(cell, world=world(gain), predicted=predicted(gain))


def measure(numbered: tuple[int, Cell, int]) -> Measured:
    """Simulate one cell; its random stream depends on its number alone."""
    number, bare, replications = numbered
    cell = with_gain(bare)
    generator = np.random.Generator(np.random.Philox(key=number))
    chunk = max(1, CHUNK // (cell.seeds * cell.questions))
    sizes = [min(chunk, replications - start) for start in range(0, replications, chunk)]
    parts = [_simulate(cell, replications=size, generator=generator) for size in sizes]
    found, ungrouped = (joined([part[side] for part in parts]) for side in (0, 1))
    flags = np.concatenate([part[2] for part in parts])
    collapsed = np.concatenate([part[3] for part in parts])
    sound, one = ~collapsed.any(axis=1), collapsed.sum(axis=1) == 1
    truth = cell.world.true_gain()
    return Measured(
        cell=cell,
        coverage=float(found.covers(truth).mean()),
        coverage_without_images=float(ungrouped.covers(truth).mean()),
        outcomes=found.outcomes(smallest_effect=SMALLEST_EFFECT),
        flags=float(flags[sound].any(axis=1).mean()) if sound.any() else math.nan,
        caught=float(flags[one][collapsed[one]].mean()) if one.any() else math.nan,
    )


def _simulate(
    cell: Cell, *, replications: int, generator: np.random.Generator
) -> tuple[Differences, Differences, NDArray[np.bool_], NDArray[np.bool_]]:
    drawn = cell.world.draw(generator, replications=replications, seeds=cell.seeds, questions=cell.questions)
    by_image, by_question = (
        differences(drawn.arm, reference=drawn.reference, paired=cell.paired, per_image=size)
        for size in (cell.world.questions_per_image, 1)
    )
    return by_image, by_question, flagged(drawn.arm), drawn.collapsed


def measure_all(*, replications: int, processes: int) -> tuple[list[Measured], list[Result]]:
    """Every cell and every harder study, in order."""
    jobs = [(number, cell, replications) for number, cell in enumerate(cells())]
    harder = [*studies(), *alternatives()]
    harder_jobs = [(number, study, replications) for number, study in enumerate(harder)]
    if processes == 1:
        measured, figures = list(map(measure, jobs)), list(map(simulate, harder_jobs))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            measured = pool.map(measure, jobs, chunksize=1)
            figures = pool.map(simulate, harder_jobs, chunksize=1)
    return measured, [Result(study=study, figures=one) for study, one in zip(harder, figures, strict=True)]


def between_markers(page: str, *, name: str, text: str) -> str:
    """The page with new text between the markers of this name."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def main() -> int:
    """Simulate, write the page, say which bars were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=10_000, help="of each cell")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file that holds the markers")
    options = parser.parse_args()
    started = time.monotonic()
    measured, results = measure_all(replications=options.replications, processes=options.processes)
    reports = {
        "calibration": tables(measured, replications=options.replications),
        "robustness": robustness_tables(results),
    }
    page = options.page.read_text(encoding="utf-8")
    for name, report in reports.items():
        page = between_markers(page, name=name, text=report.text)
    options.page.write_text(page, encoding="utf-8")
    minutes = (time.monotonic() - started) / 60
    print(f"{options.page}: {options.replications:,} replications of each cell in {minutes:.1f} minutes.")
    missed = [line for report in reports.values() for line in report.missed]
    print("\n".join(missed) or "Every bar is held.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
