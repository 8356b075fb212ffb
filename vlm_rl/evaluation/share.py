"""How sure the accuracy of one model is: Wilson's interval with as many independent questions as the answers are worth.

A t-interval fails here: ten right of ten would be "100 %, surely", and three of four would reach beyond 100 %. Questions that
share an image, and several samples of a question, are not independent; what they are worth is estimated from the scores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

PRIOR = 1.0  # one wrong answer's worth of "as if each image were one question answered once", where scores tell too little


@dataclass(frozen=True, kw_only=True)
class Share:
    """A mean of scores in [0, 1], and the number of independent right-or-wrong answers that would be as sure."""

    value: float
    num_effective: float

    def ends(self, *, confidence: float) -> tuple[float, float]:
        """Of the two-sided interval over new questions like these; always within [0, 1]."""
        return wilson(self.value, num=self.num_effective, z=float(stats.norm.ppf(0.5 + confidence / 2)))


def share_of(scores: Float[np.ndarray, " questions"], *, images: Sequence[str] | None = None) -> Share:
    """The mean score and what it is worth, from the score of each question and, where some share one, the names of the images.

    With all questions of an image alike there are n0 = Q^2 / sum of (questions on an image)^2 independent answers. The scores then
    vary as p (1 - p) / n0; if their clustered variance is smaller or larger, n0 is divided by the ratio (design effect, Kish 1965).
    """
    _, image_of_question = np.unique(np.arange(scores.size) if images is None else np.asarray(images), return_inverse=True)
    sizes = np.bincount(image_of_question)
    value = float(scores.mean())
    num = scores.size**2 / float((sizes**2).sum())
    if sizes.size < 2:  # one image shows no variance
        return Share(value=value, num_effective=num)
    distances = np.bincount(image_of_question, weights=scores - value) / scores.size
    measured, expected = num**2 * float((distances**2).sum()), num * value * (1 - value)
    return Share(value=value, num_effective=num * (expected + PRIOR) / (measured + PRIOR))


def wilson(share: float, *, num: float, z: float) -> tuple[float, float]:
    """Ends of Wilson's score interval (1927): the shares p for which `share` lies within z sqrt(p (1 - p) / num) of p."""
    z2 = z**2
    centre, half = share + z2 / (2 * num), z * math.sqrt(share * (1 - share) / num + z2 / (4 * num**2))
    low, high = (centre - half) / (1 + z2 / num), (centre + half) / (1 + z2 / num)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # 0 and 1 are ends exactly, in spite of rounding
