"""The formulas of vlm_rl/evaluation/{statistics,verdict}.py over many replications at once, pinned equal to them by a test."""

from dataclasses import dataclass

import numpy as np
from calibration_world import Answers, Shares
from numpy.typing import NDArray
from scipy import special

from vlm_rl.evaluation.dynamics import far_from_median
from vlm_rl.evaluation.verdict import EQUIVALENCE_CONFIDENCE, LEVEL, ROUNDING


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One entry for each replication, as in `Difference`."""

    estimate: Shares
    variance_seeds: Shares
    variance_questions: Shares
    df_seeds: Shares
    num_questions: int

    def half_width(self, *, confidence: float = 1 - LEVEL) -> Shares:
        """Of the interval for new seeds and new questions."""
        chance = 0.5 + confidence / 2
        t_seeds, t_questions = special.stdtrit(self.df_seeds, chance), special.stdtrit(self.num_questions - 1, chance)
        return np.sqrt(t_seeds**2 * self.variance_seeds + t_questions**2 * self.variance_questions)

    def covers(self, truth: float) -> NDArray[np.bool_]:
        """Whether the 95 % interval holds the truth."""
        return np.abs(self.estimate - truth) <= self.half_width()

    def outcomes(self, *, smallest_effect: float) -> dict[str, float]:
        """Shares of the verdicts in a family of one, by the value of `Outcome` shortened."""
        judged = self.variance_seeds > ROUNDING
        width, narrow = self.half_width(), self.half_width(confidence=EQUIVALENCE_CONFIDENCE)
        improvement, harm = judged & (self.estimate > width), judged & (self.estimate < -width)
        small = judged & ~improvement & ~harm & (np.abs(self.estimate) + narrow < smallest_effect)
        open_ = judged & ~improvement & ~harm & ~small
        named = {"improvement": improvement, "harm": harm, "no difference": small, "open": open_, "not judged": ~judged}
        return {name: float(hits.mean()) for name, hits in named.items()}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a (seeds x clusters) matrix says: its two-way table, for each replication."""

    seed_means: Shares  # (replications, seeds)
    cluster_means: Shares  # (replications, clusters)
    residual: Shares  # (replications,)


def layout(answers: Answers, *, per_image: int) -> Layout:
    """Means and residual mean square; neighbouring questions share an image."""
    replications, seeds, questions = answers.shape
    clusters = questions // per_image
    scores = answers if per_image == 1 else answers.reshape(replications, seeds, clusters, per_image).sum(-1, dtype=np.int8)
    squares = np.einsum("rsq,rsq->r", scores, scores, dtype=np.float32, casting="unsafe").astype(np.float64) / per_image**2
    seed_means = scores.sum(axis=2, dtype=np.int32) / questions
    cluster_means = scores.sum(axis=1, dtype=np.int32) / (seeds * per_image)
    grand = seed_means.mean(axis=1)
    rows, columns = clusters * (seed_means**2).sum(axis=1), seeds * (cluster_means**2).sum(axis=1)
    residual = (squares - rows - columns + seeds * clusters * grand**2) / ((seeds - 1) * (clusters - 1))
    return Layout(seed_means=seed_means, cluster_means=cluster_means, residual=residual)


def differences(arm: Answers, *, reference: Answers, paired: bool, per_image: int = 1) -> Differences:
    """`paired_difference` or `unpaired_difference` of every replication."""
    seeds = arm.shape[1]
    if paired:
        both = layout(arm - reference, per_image=per_image)
        a, df = both.seed_means.var(axis=1, ddof=1) / seeds, np.full(len(arm), seeds - 1.0)
        by_cluster, noise, estimate = both.cluster_means, both.residual / seeds, both.seed_means.mean(axis=1)
    else:
        one, other = (layout(answers, per_image=per_image) for answers in (arm, reference))
        a_arm, a_reference = (side.seed_means.var(axis=1, ddof=1) / seeds for side in (one, other))
        a, squares = a_arm + a_reference, (a_arm**2 + a_reference**2) / (seeds - 1)
        df = np.divide(a**2, squares, out=np.full(len(arm), seeds - 1.0), where=squares > 0)
        by_cluster, noise = one.cluster_means - other.cluster_means, (one.residual + other.residual) / seeds
        estimate = one.seed_means.mean(axis=1) - other.seed_means.mean(axis=1)
    clusters = by_cluster.shape[1]
    b = np.maximum(0.0, by_cluster.var(axis=1, ddof=1) - noise) / clusters
    return Differences(estimate=estimate, variance_seeds=a, variance_questions=b, df_seeds=df, num_questions=clusters)


def flagged(answers: Answers) -> NDArray[np.bool_]:
    """`far_from_other_seeds` of every replication: (replications, seeds)."""
    sides = layout(answers, per_image=1)
    return far_from_median(sides.seed_means, noise=sides.residual / answers.shape[2])
