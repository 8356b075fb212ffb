"""The formulas of vlm_rl/evaluation/{statistics,verdict}.py over many replications at once, pinned equal to them by a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from calibration_world import Answers, Shares
from numpy.typing import NDArray
from scipy import special

from vlm_rl.evaluation.dynamics import far_from_median
from vlm_rl.evaluation.verdict import EQUIVALENCE_CONFIDENCE, LEVEL, ROUNDING

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One entry for each replication, as in `Difference`; of a family (replications, arms)."""

    estimate: Shares
    variance_seeds: Shares
    variance_questions: Shares
    df_seeds: Shares
    num_questions: int

    @property
    def judged(self) -> Flags:
        """Where there is a verdict: the seeds differ."""
        return self.variance_seeds > ROUNDING

    def half_width(self, *, confidence: float | Shares = 1 - LEVEL) -> Shares:
        """Of the interval for new seeds and new questions."""
        chance = 0.5 + confidence / 2
        t_seeds, t_questions = special.stdtrit(self.df_seeds, chance), special.stdtrit(self.num_questions - 1, chance)
        return np.sqrt(t_seeds**2 * self.variance_seeds + t_questions**2 * self.variance_questions)

    def claims(self, *, level: float | Shares = LEVEL) -> Flags:
        """Whether a family of one ends in an improvement or harm, with `level` in place of LEVEL."""
        return self.judged & (np.abs(self.estimate) > self.half_width(confidence=1 - level))

    def claims_by_holm(self) -> Flags:
        """The same in families: (replications, arms). The level is LEVEL over the arms not yet claimed, until no arm is added."""
        members, claims = self.judged.sum(axis=1, keepdims=True), np.zeros_like(self.judged)
        while True:
            open_ = np.maximum(1, members - claims.sum(axis=1, keepdims=True))
            more = self.claims(level=LEVEL / open_)
            if (more == claims).all():
                return claims
            claims = more

    def covers(self, truth: float) -> Flags:
        """Whether the 95 % interval holds the truth."""
        return np.abs(self.estimate - truth) <= self.half_width()

    def outcomes(self, *, smallest_effect: float) -> dict[str, float]:
        """Shares of the verdicts in a family of one, by the value of `Outcome` shortened."""
        claims, narrow = self.claims(), self.half_width(confidence=EQUIVALENCE_CONFIDENCE)
        small = self.judged & ~claims & (np.abs(self.estimate) + narrow < smallest_effect)
        named = {
            "improvement": claims & (self.estimate > 0),
            "harm": claims & (self.estimate < 0),
            "no difference": small,
            "open": self.judged & ~claims & ~small,
            "not judged": ~self.judged,
        }
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


def flagged(answers: Answers) -> Flags:
    """`far_from_other_seeds` of every replication: (replications, seeds)."""
    sides = layout(answers, per_image=1)
    return far_from_median(sides.seed_means, noise=sides.residual / answers.shape[2])


def joined(parts: Sequence[Differences], *, together: Callable[[Sequence[Shares]], Shares] = np.concatenate) -> Differences:
    """More replications, or with `np.column_stack` the arms of a family."""
    names = ("estimate", "variance_seeds", "variance_questions", "df_seeds")
    arrays = {name: together([getattr(part, name) for part in parts]) for name in names}
    return Differences(**arrays, num_questions=parts[0].num_questions)
