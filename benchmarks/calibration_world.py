"""The simulated world of calibration.py: question difficulties, training seeds, single answers, and the truth about them.

A model answers a question right with probability expit(difficulty + training + question's own response to it + seed). The truth
(mean gain, variances) is integrated, not simulated, so that an interval and a predicted power are held against what is so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from vlm_rl.evaluation.power import Variances

Shares = NDArray[np.float64]
Answers = NDArray[np.int8]  # (replications, seeds, questions), 1 = right

MEAN_DIFFICULTY, DIFFICULTY_SPREAD = -0.2, 1.5  # logits: about 46 % right, most questions easy or hard
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
COLLAPSED = -4.0  # logits: a collapsed run answers a few percent right


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Replications of a study."""

    arm: Answers
    reference: Answers
    collapsed: NDArray[np.bool_]  # (replications, seeds), of the arm


@dataclass(frozen=True, kw_only=True)
class World:
    """Trained runs against the vanilla model (paired) or against another trained arm that gained nothing."""

    gain: float  # share: the truth about the mean difference, where no run collapses
    seed_spread: float  # share: standard deviation of a run's true mean
    response_spread: float  # logits: how differently questions respond to training
    paired: bool
    questions_per_image: int = 1
    image_share: float = 0.0  # of the variance of the response that questions on one image have in common
    collapse: float = 0.0  # share of trained runs that collapse

    def shifts(self) -> tuple[float, float, float]:
        """Logits of training, of a seed of the arm and of a seed of the reference that make `gain` and `seed_spread` true."""
        reference_seed = 0.0 if self.paired else _seed_logits(0.0, spread=self.seed_spread, response=0.0)
        level = _mean_over_seeds(0.0, seed=reference_seed, response=0.0) + self.gain

        def gap(training: float) -> float:
            seed = _seed_logits(training, spread=self.seed_spread, response=self.response_spread)
            return _mean_over_seeds(training, seed=seed, response=self.response_spread) - level

        training = float(optimize.brentq(gap, -2.0, 4.0, xtol=1e-10))
        return training, _seed_logits(training, spread=self.seed_spread, response=self.response_spread), reference_seed

    def true_gain(self) -> float:
        """The mean difference over all seeds and questions there could be, collapsed runs included."""
        if not self.collapse:
            return self.gain
        training, _, reference_seed = self.shifts()
        reference = _mean_over_seeds(0.0, seed=reference_seed, response=0.0)
        fallen = _mean(np.array(training + COLLAPSED), response=self.response_spread) - reference
        return float((1 - self.collapse) * self.gain + self.collapse * fallen)

    def variances(self) -> Variances:
        """The true ones, for power; one question an image, no collapse."""
        training, arm_seed, reference_seed = self.shifts()
        # Axes: difficulty, response, seed.
        difficulty = MEAN_DIFFICULTY + DIFFICULTY_SPREAD * NODES[:, None, None]
        response = self.response_spread * NODES[None, :, None]
        arm = special.expit(difficulty + training + response + arm_seed * NODES)
        reference = np.broadcast_to(special.expit(difficulty + reference_seed * NODES), arm.shape)
        of_question = _over_questions_weight()
        difference = (arm - reference) @ WEIGHTS
        questions = float((of_question * difference**2).sum() - (of_question * difference).sum() ** 2)
        residuals = tuple(_residual(shares, of_question=of_question) for shares in (arm, reference))
        spread = self.seed_spread**2
        if self.paired:
            return Variances(seeds=(spread,), residuals=(sum(residuals),), questions=questions)
        return Variances(seeds=(spread, spread), residuals=residuals, questions=questions)

    def draw(self, generator: np.random.Generator, *, replications: int, seeds: int, questions: int) -> Drawn:
        """Answers of the arm and of its reference, new seeds and new questions in every replication."""
        training, arm_seed, reference_seed = self.shifts()
        difficulty = MEAN_DIFFICULTY + DIFFICULTY_SPREAD * _normal(generator, replications, 1, questions)
        images = np.repeat(
            _normal(generator, replications, 1, questions // self.questions_per_image), self.questions_per_image, -1
        )
        own = _normal(generator, replications, 1, questions)
        response = self.response_spread * (self.image_share**0.5 * images + (1 - self.image_share) ** 0.5 * own)
        collapsed = generator.random((replications, seeds, 1)) < self.collapse
        of_run = np.where(collapsed, np.float32(COLLAPSED), arm_seed * _normal(generator, replications, seeds, 1))
        arm = difficulty + np.float32(training) + response + of_run.astype(np.float32)
        reference = difficulty + np.float32(reference_seed) * _normal(generator, replications, seeds, 1)
        return Drawn(arm=_answer(generator, arm), reference=_answer(generator, reference), collapsed=collapsed[:, :, 0])


def _normal(generator: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return generator.standard_normal(shape, dtype=np.float32)


def _answer(generator: np.random.Generator, logits: NDArray[np.float32]) -> Answers:
    return (generator.random(logits.shape, dtype=np.float32) < special.expit(logits)).astype(np.int8)


def _mean(shift: Shares, *, response: float) -> Shares:
    """Share right over all questions, at each shift in logits."""
    spread = (DIFFICULTY_SPREAD**2 + response**2) ** 0.5
    return np.asarray(special.expit(MEAN_DIFFICULTY + shift[..., None] + spread * NODES) @ WEIGHTS)


def _mean_over_seeds(training: float, *, seed: float, response: float) -> float:
    return float(_mean(training + seed * NODES, response=response) @ WEIGHTS)


def _seed_logits(training: float, *, spread: float, response: float) -> float:
    """How far seeds spread in logits so that their mean shares spread by `spread`."""

    def gap(seed: float) -> float:
        means = _mean(training + seed * NODES, response=response)
        return float(np.sqrt((means - means @ WEIGHTS) ** 2 @ WEIGHTS)) - spread

    return float(optimize.brentq(gap, 0.0, 3.0, xtol=1e-10))


def _over_questions_weight() -> Shares:
    return np.outer(WEIGHTS, WEIGHTS)


def _residual(shares: Shares, *, of_question: Shares) -> float:
    """Chance of a single answer, and what a seed does to single questions beyond its mean."""
    everywhere = of_question[:, :, None] * WEIGHTS
    of_seed = (of_question[:, :, None] * shares).sum(axis=(0, 1))
    of_questions = (shares @ WEIGHTS)[:, :, None]
    interaction = shares - of_seed - of_questions + (everywhere * shares).sum()
    return float((everywhere * (shares * (1 - shares) + interaction**2)).sum())
