"""What is shaded around accuracies: the pigeonhole bootstrap over seeds and images. The same draws at every point of a curve."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from vlm_rl.evaluation.bootstrap import QuestionCounts, bootstrap_means, resample, resample_images
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.evaluations import Evaluation

NUM_DRAWS = 1000  # a picture cannot show what more would add
STREAM = 7  # key of the generator: a report drawn twice is the same
TWO_WAY = say("95 % pigeonhole bootstrap over seeds and images")


def accuracy_band(points: Sequence[Sequence[Evaluation | None]]) -> tuple[FloatArray, FloatArray]:
    """Ends of the band at each point from the evaluations of all seeds there; NaN where a seed has none.

    NaN everywhere if not all answered the same questions: the bootstrap of crossed rows and columns does not speak of that.
    """
    ends = np.full((2, len(points)), np.nan)
    whole = [place for place, row in enumerate(points) if None not in row]
    evaluations = [[evaluation for evaluation in points[place] if evaluation is not None] for place in whole]
    questions = {evaluation.questions.asked: evaluation.questions for row in evaluations for evaluation in row}
    if len(questions) == 1:
        scores = np.array([[evaluation.scores() for evaluation in row] for row in evaluations])
        ends[:, whole] = pigeonhole_band(scores, images=next(iter(questions.values())).images())
    return ends[0], ends[1]


def pigeonhole_band(
    scores: Float[np.ndarray, "points seeds questions"], *, images: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """95 % percentile ends at each point; NaN with a single seed."""
    num_points, num_seeds, _ = scores.shape
    if num_seeds < 2:
        return np.full(num_points, np.nan), np.full(num_points, np.nan)
    seeds = resample(num_seeds, generator=_generator(num_seeds), num_draws=NUM_DRAWS)
    draws = bootstrap_means(scores, seeds=seeds, questions=_drawn_questions(tuple(images)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=-1)
    return low, high


@lru_cache(maxsize=4)
def _drawn_questions(images: tuple[str, ...]) -> QuestionCounts:
    return resample_images(images, generator=_generator(0), num_draws=NUM_DRAWS)


def _generator(purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[STREAM, purpose]))
