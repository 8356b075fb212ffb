"""From a difference to a decision, by a rule fixed before the runs: Holm over the family, then the smallest effect that matters."""

import enum
import math
from collections.abc import Sequence

from scipy import optimize, stats

from vlm_rl.evaluation.endpoint import FEWEST_SEEDS as FEWEST_SEEDS
from vlm_rl.evaluation.statistics import Difference, Interval

LEVEL = 0.05  # of the whole family: how often "improvement" or "harm" may be said where there is nothing
EQUIVALENCE_CONFIDENCE = 1 - 2 * LEVEL  # two one-sided tests at LEVEL
ROUNDING = 1e-18  # variance of shares below which a spread is float dust: a standard error of 1e-9
SMALLEST_P = -300.0  # natural logarithm: beyond, scipy's t.isf fails (at -690 for 3 to 11 degrees of freedom) or has no square


class Outcome(enum.Enum):
    """What may be said of a trained arm."""

    IMPROVEMENT = "improvement"
    HARM = "harm"
    NO_DIFFERENCE = "no difference larger than the smallest effect that matters"
    OPEN = "no evidence either way"
    NOT_JUDGED = "not judged"


def lacks_seed_spread(difference: Difference) -> bool:
    """Whether the seeds do not differ at all, so that nothing is known about new ones: a is 0, or rounding."""
    return difference.variance_seeds <= ROUNDING


def p_value(difference: Difference) -> float:
    """The p that solves |g| = sqrt(t_p(df)^2 a + t_p(Q - 1)^2 b): the level whose interval just touches 0.

    NaN where the interval has no ends (one seed, one question) or no width from seeds.
    """
    if difference.num_seeds < 2 or difference.num_questions < 2 or lacks_seed_spread(difference):
        return math.nan

    def gap(log_p: float) -> float:
        tail = math.exp(log_p) / 2
        t_seeds, t_questions = stats.t.isf(tail, difference.df_seeds), stats.t.isf(tail, difference.num_questions - 1)
        width = t_seeds**2 * difference.variance_seeds + t_questions**2 * difference.variance_questions
        return math.sqrt(width) - abs(difference.estimate)

    if gap(SMALLEST_P) <= 0:
        return math.exp(SMALLEST_P)
    return math.exp(float(optimize.brentq(gap, SMALLEST_P, 0.0, xtol=1e-10)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; what has no p-value (NaN) is no member of the family."""
    members = sorted((place for place, p in enumerate(p_values) if not math.isnan(p)), key=lambda place: p_values[place])
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(members):
        largest = max(largest, min(1.0, (len(members) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def holm_levels(p_values: Sequence[float], *, level: float = LEVEL) -> list[float]:
    """The level at which Holm's procedure tests each member: level / m for the least likely, then level / (m - 1), until one fails.

    All that follow are held to the level that failed. So a difference is claimed exactly where its interval at 1 - this level leaves
    out 0, and each such interval covers with at least 1 - `level`, since it is never narrower. NaN for what is no member.
    """
    members = sorted((place for place, p in enumerate(p_values) if not math.isnan(p)), key=lambda place: p_values[place])
    levels = [math.nan] * len(p_values)
    rank, goes_on = 0, True
    for place in members:
        levels[place] = level / (len(members) - rank)
        goes_on = goes_on and p_values[place] < levels[place]
        rank += goes_on
    return levels


def decide(difference: Difference, *, adjusted_p: float, smallest_effect: float, level: float = LEVEL) -> Outcome:
    """Statistics first, then relevance; NOT_JUDGED where there is no p-value. `level`: of this look at the study."""
    if math.isnan(adjusted_p):
        return Outcome.NOT_JUDGED
    if adjusted_p < level:
        return Outcome.IMPROVEMENT if difference.estimate > 0 else Outcome.HARM
    interval = equivalence_interval(difference, level=level)
    inside = -smallest_effect < interval.low and interval.high < smallest_effect
    return Outcome.NO_DIFFERENCE if inside else Outcome.OPEN


def equivalence_interval(difference: Difference, *, level: float = LEVEL) -> Interval:
    """The interval of two one-sided tests, each at `level`: 90 % for 5 %."""
    return difference.new_questions(confidence=1 - 2 * level)
