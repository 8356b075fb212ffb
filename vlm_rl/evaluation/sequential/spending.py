"""How a group-sequential study spends its chance of a false claim over its looks, and the boundaries that follow in large samples.

Alpha spending is that of Lan and DeMets (1983, https://doi.org/10.1093/biomet/70.3.659), for each side of a two-sided test. Information is
a share of that of the largest design: 1 at the last look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Spending = Literal["obrien_fleming", "pocock"]
Floats = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(300)  # over the statistics with which a study goes on
WIDEST = 9.0  # z beyond which nothing is integrated: its chance is below 1e-18


def spent(information: Sequence[float] | Floats, *, spending: Spending, level: float) -> Floats:
    """The chance of a false claim, of both sides together, that may be used up by each look; all of `level` at information 1."""
    shares = np.minimum(np.asarray(information, dtype=np.float64), 1.0)
    if spending == "pocock":
        return np.asarray(level * np.log1p((np.e - 1) * shares))
    return np.asarray(4 * special.ndtr(special.ndtri(level / 4) / np.sqrt(shares)))


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The chances that each look is the first at which the statistic lies outside of its boundary."""

    above: Floats
    below: Floats


def crossing(boundaries: Sequence[float], *, information: Sequence[float], drift: float) -> Crossing:
    """For boundaries +-z of each look; `drift` is the expected statistic at information 1.

    The recursion of Armitage, McPherson and Rowe (1969, https://doi.org/10.2307/2343787): z sqrt(information) has independent increments.
    """
    above, below = [], []
    points, density, before = np.zeros(1), np.ones(1), 0.0
    for z, share in zip(boundaries, information, strict=True):
        limit, step = min(z, WIDEST + abs(drift)) * np.sqrt(share), np.sqrt(max(share - before, 1e-12))
        means = points + drift * (share - before)
        above.append(float(density @ special.ndtr((means - limit) / step)))
        below.append(float(density @ special.ndtr((-limit - means) / step)))
        new = limit * NODES
        distances = (new[:, None] - means[None, :]) / step
        density = (np.exp(-(distances**2) / 2) @ density) * limit * WEIGHTS / (step * np.sqrt(2 * np.pi))
        points, before = new, share
    return Crossing(above=np.array(above), below=np.array(below))


def large_sample_boundaries(information: Sequence[float], *, spending: Spending, level: float) -> Floats:
    """z of each look, so that the chance of a false claim up to it is what may be spent."""
    allowed = spent(information, spending=spending, level=level)
    found: list[float] = []
    for k in range(len(information)):

        def left(z: float, k: int = k) -> float:
            chances = crossing([*found, z], information=information[: k + 1], drift=0.0)
            return float((chances.above + chances.below).sum() - allowed[k])

        found.append(float(optimize.brentq(left, 0.0, WIDEST, xtol=1e-9)) if left(WIDEST) < 0 else WIDEST)
    return np.array(found)
