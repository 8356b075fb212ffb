"""Does the interval of one model's accuracy hold the truth? Simulated: python benchmarks/share_coverage.py [--replications 10000].

Writes its table into docs/statistics.md, between two markers, and ends with 1 where a bar is missed. The bars: coverage >= 93 %
averaged over all cells, and nowhere below 86 %.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vlm_rl.evaluation.share import PRIOR

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- share: begin -->", "<!-- share: end -->"
QUESTIONS, SHARES, SAMPLES = (4, 10, 30, 100, 600), (0.02, 0.5, 0.9, 0.99, 1.0), (1, 4, 8)
SPREADS = {"all alike": np.inf, "differ": 4.0, "differ much": 1.0, "known or not": 0.0}  # a + b of the beta distribution
IMAGES = {"one": (1,), "five": (5,), "one or nine": (1, 9)}  # questions on an image, in turn
LEAST_MEAN, LEAST = 0.93, 0.86
Z = float(special.ndtri(0.975))
CHUNK = 1000  # replications at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One simulation: what is asked, and how hard the questions are to this model."""

    questions: int
    share: float  # the truth
    spread: str  # of difficulty
    samples: int  # of each question
    images: str  # the questions of an image are equally hard

    def sizes(self) -> NDArray[np.int64]:
        """Questions on each image."""
        turn = IMAGES[self.images]
        return np.array(turn * (self.questions // sum(turn)))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out of a cell."""

    cell: Cell
    coverage: float
    width: float  # mean
    ideal_width: float  # 2 x 1.96 standard deviations of the measured share


def cells() -> Iterator[Cell]:
    """All simulations: all combinations that can be (a share of 100 % has one difficulty; images need whole turns)."""
    for questions, share, spread, samples, images in itertools.product(QUESTIONS, SHARES, SPREADS, SAMPLES, IMAGES):
        if questions % sum(IMAGES[images]) == 0 and (share < 1 or spread == "all alike"):
            yield Cell(questions=questions, share=share, spread=spread, samples=samples, images=images)


def draw(cell: Cell, *, replications: int, generator: np.random.Generator) -> Floats:
    """(replications x questions) scores."""
    shape, spread = (replications, len(cell.sizes())), SPREADS[cell.spread]
    if cell.share == 1 or spread == np.inf:
        chances = np.full(shape, cell.share)
    elif spread == 0:
        chances = (generator.random(shape) < cell.share).astype(np.float64)
    else:
        chances = generator.beta(spread * cell.share, spread * (1 - cell.share), shape)
    return generator.binomial(cell.samples, np.repeat(chances, cell.sizes(), axis=1)) / cell.samples


def ends(scores: Floats, *, sizes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """`share_interval` of every replication, pinned equal to it by a test; neighbouring questions share an image."""
    share, questions = scores.mean(axis=1), scores.shape[1]
    num = np.full(share.shape, questions**2 / (sizes**2).sum())
    if len(sizes) > 1:
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        distances = np.add.reduceat(scores - share[:, None], starts, axis=1) / questions
        num = num * (num * share * (1 - share) + PRIOR) / (num**2 * (distances**2).sum(axis=1) + PRIOR)
    centre = share + Z**2 / (2 * num)
    half = Z * np.sqrt(share * (1 - share) / num + Z**2 / (4 * num**2))
    return (centre - half) / (1 + Z**2 / num), (centre + half) / (1 + Z**2 / num)


def measure(number: int, cell: Cell, *, replications: int) -> Measured:
    """Simulate one cell; its random stream depends on its number alone."""
    generator = np.random.Generator(np.random.Philox(key=number))
    sizes = [min(CHUNK, replications - start) for start in range(0, replications, CHUNK)]
    scores = [draw(cell, replications=size, generator=generator) for size in sizes]
    low, high = np.hstack([ends(part, sizes=cell.sizes()) for part in scores])
    rounding = 1e-12
    return Measured(
        cell=cell,
        coverage=float(((low <= cell.share + rounding) & (cell.share <= high + rounding)).mean()),
        width=float((high - low).mean()),
        ideal_width=float(2 * Z * np.concatenate([part.mean(axis=1) for part in scores]).std()),
    )


def missed_bars(measured: Sequence[Measured]) -> Iterator[str]:
    """A line for each bar that was missed."""
    mean = np.mean([one.coverage for one in measured])
    if mean < LEAST_MEAN:
        yield f"Coverage averaged over all cells is {100 * mean:.1f} %, the bar is {100 * LEAST_MEAN:.0f} %."
    for one in measured:
        if one.coverage < LEAST:
            yield f"{one.cell}: coverage {100 * one.coverage:.1f} %, the bar is {100 * LEAST:.0f} %."


def table(measured: Sequence[Measured], *, replications: int) -> str:
    """A row for each number of questions and true share, over all worlds of it."""
    coverages = np.array([one.coverage for one in measured])
    lines = [
        f"{replications:,} replications of each of {len(measured)} cells. Coverage averaged over all of them: "
        f"{100 * coverages.mean():.1f} % (bar: {100 * LEAST_MEAN:.0f} %); lowest: {100 * coverages.min():.1f} % "
        f"(bar: {100 * LEAST:.0f} %); below 93 % in {100 * (coverages < 0.93).mean():.0f} % of the cells.",
        "",
        "| Questions | True share, % | Coverage, mean, % | Lowest, % | … in the world (difficulty, samples, questions an image) "
        "| Width, mean, points | 2 × 1.96 true standard deviations |",
        "| ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for questions, share in itertools.product(QUESTIONS, SHARES):
        found = [one for one in measured if (one.cell.questions, one.cell.share) == (questions, share)]
        worst = min(found, key=lambda one: one.coverage)
        mean, width, ideal = (
            100 * np.mean([getattr(one, name) for one in found]) for name in ("coverage", "width", "ideal_width")
        )
        where = f"{worst.cell.spread}, {worst.cell.samples}, {worst.cell.images}"
        lines.append(
            f"| {questions} | {100 * share:g} | {mean:.1f} | {100 * worst.coverage:.1f} | {where} | {width:.1f} | {ideal:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Simulate, write the page, say which bars were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=10_000, help="of each cell")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file that holds the two markers")
    options = parser.parse_args()
    measured = [measure(number, cell, replications=options.replications) for number, cell in enumerate(cells())]
    before, rest = options.page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    text = table(measured, replications=options.replications)
    options.page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    missed = list(missed_bars(measured))
    print("\n".join(missed) or "Every bar is held.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
