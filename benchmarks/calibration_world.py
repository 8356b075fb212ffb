"""The simulated world of calibration.py: question difficulties, training seeds, single answers, and the truth about them.

A run has a true accuracy: that of its arm, plus what its seed adds. It answers a question right with probability
expit(difficulty + the question's own response to training + shift), where the shift gives the run its true accuracy. The truth
(mean gain, variances) is integrated, not simulated, so that an interval and a predicted power are held against what is so.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vlm_rl.evaluation.power import Variances

Shares = NDArray[np.float64]
Answers = NDArray[np.int8]  # (replications, seeds, questions), 1 = right
Logits = NDArray[np.float32]

MEAN_DIFFICULTY, DIFFICULTY_SPREAD = -0.2, 1.5  # logits: about 46 % right, most questions easy or hard
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SHIFTS = np.linspace(-12.0, 12.0, 4801)  # logits
COLLAPSED = 0.03  # share of questions that a collapsed run answers right


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Trained runs: each by the logits that its training adds to every question."""

    shifts: Logits  # (replications, seeds, 1)
    collapsed: NDArray[np.bool_]  # (replications, seeds)


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
    seeds_like: Literal["normal", "t3", "left-skewed"] = "normal"
    reference_spread: float | None = None  # share: of the other arm's runs, where it is not `seed_spread`
    questions_per_image: int = 1
    image_share: float = 0.0  # of the variance of the response that questions on one image have in common
    collapse: float = 0.0  # share of trained runs that collapse

    def true_gain(self) -> float:
        """The mean difference over all seeds and questions there could be, collapsed runs included."""
        return (1 - self.collapse) * self.gain + self.collapse * (COLLAPSED - vanilla_share())

    def variances(self) -> Variances:
        """The true ones, for power; normal seeds, one question an image, no collapse."""
        # Axes: difficulty, response, seed.
        difficulty = MEAN_DIFFICULTY + DIFFICULTY_SPREAD * NODES[:, None, None]
        response = self.response_spread * NODES[None, :, None]
        accuracies = vanilla_share() + self.gain + self.seed_spread * NODES
        arm = special.expit(difficulty + response + shift_for(accuracies, response=self.response_spread))
        reference = np.broadcast_to(special.expit(difficulty + self._reference_shift(NODES)), arm.shape)
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
        difficulty = draw_difficulty(generator, replications=replications, questions=questions)
        response = self.draw_response(generator, replications=replications, questions=questions)
        runs = self.draw_runs(generator, replications=replications, seeds=seeds)
        return Drawn(
            arm=answer(generator, difficulty + response + runs.shifts),
            reference=self.draw_reference(generator, difficulty=difficulty, seeds=seeds),
            collapsed=runs.collapsed,
        )

    def draw_runs(self, generator: np.random.Generator, *, replications: int, seeds: int) -> Runs:
        """New trained runs."""
        accuracies = vanilla_share() + self.gain + self.seed_spread * self._of_seeds(generator, replications, seeds, 1)
        collapsed = generator.random((replications, seeds, 1)) < self.collapse
        accuracies = np.where(collapsed, COLLAPSED, accuracies)
        return Runs(
            shifts=shift_for(accuracies, response=self.response_spread).astype(np.float32), collapsed=collapsed[:, :, 0]
        )

    def draw_response(self, generator: np.random.Generator, *, replications: int, questions: int) -> Logits:
        """What training adds to single questions: (replications, 1, questions) logits around 0."""
        if self.response_spread == 0:
            return np.zeros((1, 1, 1), dtype=np.float32)
        own = _normal(generator, replications, 1, questions)
        if self.image_share == 0:
            return np.float32(self.response_spread) * own
        images = _normal(generator, replications, 1, questions // self.questions_per_image)
        common = np.repeat(images, self.questions_per_image, -1)
        return np.float32(self.response_spread) * (
            np.float32(self.image_share**0.5) * common + np.float32((1 - self.image_share) ** 0.5) * own
        )

    def draw_reference(self, generator: np.random.Generator, *, difficulty: Logits, seeds: int) -> Answers:
        """Answers of new runs of the reference: vanilla models if paired, else the other arm's."""
        z = self._of_seeds(generator, len(difficulty), seeds, 1)
        return answer(generator, difficulty + self._reference_shift(z).astype(np.float32))

    def _reference_shift(self, z: Shares) -> Shares:
        spread = self.seed_spread if self.reference_spread is None else self.reference_spread
        return shift_for(vanilla_share() + (0.0 if self.paired else spread) * z, response=0.0)

    def _of_seeds(self, generator: np.random.Generator, *shape: int) -> Shares:
        """Mean 0 and standard deviation 1."""
        match self.seeds_like:
            case "normal":
                return generator.standard_normal(shape)
            case "t3":
                return generator.standard_t(3, shape) / 3**0.5
            case "left-skewed":
                return 1 - generator.standard_exponential(shape)


def vanilla_share() -> float:
    """True accuracy of the vanilla model."""
    return float(_means(0.0)[SHIFTS.size // 2])


def shift_for(accuracies: Shares, *, response: float) -> Shares:
    """Logits that, added to every question, give a run these true accuracies."""
    return np.interp(accuracies, _means(response), SHIFTS)


def draw_difficulty(generator: np.random.Generator, *, replications: int, questions: int) -> Logits:
    """New questions: (replications, 1, questions)."""
    return np.float32(MEAN_DIFFICULTY) + np.float32(DIFFICULTY_SPREAD) * _normal(generator, replications, 1, questions)


def answer(generator: np.random.Generator, logits: Logits) -> Answers:
    """One answer for each entry."""
    return (generator.random(logits.shape, dtype=np.float32) < special.expit(logits)).astype(np.int8)


def _normal(generator: np.random.Generator, *shape: int) -> Logits:
    return generator.standard_normal(shape, dtype=np.float32)


@functools.cache
def _means(response: float) -> Shares:
    """Share right over all questions, at each of SHIFTS."""
    spread = (DIFFICULTY_SPREAD**2 + response**2) ** 0.5
    return np.asarray(special.expit(MEAN_DIFFICULTY + SHIFTS[:, None] + spread * NODES) @ WEIGHTS)


def _over_questions_weight() -> Shares:
    return np.outer(WEIGHTS, WEIGHTS)


def _residual(shares: Shares, *, of_question: Shares) -> float:
    """Chance of a single answer, and what a seed does to single questions beyond its mean."""
    everywhere = of_question[:, :, None] * WEIGHTS
    of_seed = (of_question[:, :, None] * shares).sum(axis=(0, 1))
    of_questions = (shares @ WEIGHTS)[:, :, None]
    interaction = shares - of_seed - of_questions + (everywhere * shares).sum()
    return float((everywhere * (shares * (1 - shares) + interaction**2)).sum())
