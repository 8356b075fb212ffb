"""The kinds of study that show how far the verdict's rule carries. calibration_robustness.py says in which worlds.

Each is a frozen description that can simulate itself. All judge by `Differences`, so by the rule that the tests pin to the
project's own.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from calibration_decisions import Flags, differences, joined
from calibration_world import World, answer, draw_difficulty

from vlm_rl.evaluation.verdict import LEVEL

MANY, FEWER = 1_000_000, 4_000  # replications at most; FEWER where a study is large
GAIN = 0.1  # share, of the arms of a family that gained


class Study(Protocol):
    """Something to simulate."""

    world: World
    most_replications: ClassVar[int]

    @property
    def answers(self) -> int:
        """Of one replication: what decides how many replications are held at a time."""

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Named shares (or factors) of new replications; those of several parts are averaged by their size."""


@dataclass(frozen=True, kw_only=True)
class Harder:
    """Claims where the mean gain is 0."""

    most_replications: ClassVar[int] = MANY
    name: str
    world: World
    seeds: int
    questions: int
    per_image: int = 1  # as the rule believes

    @property
    def answers(self) -> int:
        return 2 * self.seeds * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Shares of any claim and of a false improvement."""
        drawn = self.world.draw(generator, replications=replications, seeds=self.seeds, questions=self.questions)
        found = differences(drawn.arm, reference=drawn.reference, paired=self.world.paired, per_image=self.per_image)
        claims = found.claims()
        return {"claims": float(claims.mean()), "improvements": float((claims & (found.estimate > 0)).mean())}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Several arms against one reference, on the same questions."""

    most_replications: ClassVar[int] = FEWER
    arms: int
    with_gain: int  # arms that truly gained GAIN
    world: World
    seeds: int
    questions: int

    @property
    def answers(self) -> int:
        return (self.arms + 1) * self.seeds * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Chance that any claim in the family is false, each arm by itself or all by Holm; and of Holm how many gains are found."""
        difficulty = draw_difficulty(generator, replications=replications, questions=self.questions)
        reference = self.world.draw_reference(generator, difficulty=difficulty, seeds=self.seeds)
        gains = [GAIN] * self.with_gain + [0.0] * (self.arms - self.with_gain)
        parts = []
        for gain in gains:
            runs = replace(self.world, gain=gain).draw_runs(generator, replications=replications, seeds=self.seeds)
            arm = answer(generator, difficulty + runs.shifts)
            parts.append(differences(arm, reference=reference, paired=self.world.paired))
        found = joined(parts, together=np.column_stack)
        true = (np.array(gains) > 0) & (found.estimate > 0)
        by_holm = found.claims_by_holm()
        return {
            "alone": _any(found.claims() & ~true),
            "holm": _any(by_holm & ~true),
            "found": float((by_holm & true).sum() / (replications * max(1, self.with_gain))),
        }


@dataclass(frozen=True, kw_only=True)
class PickedEpoch:
    """The test split at the epoch with the highest validation accuracy; training moves single questions and no mean."""

    most_replications: ClassVar[int] = FEWER
    epochs: int
    seeds: int
    questions: int  # of each split
    world: World

    @property
    def answers(self) -> int:
        return 6 * self.seeds * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Shares of claims by validation's pick, and by the pick of the test split itself."""
        size = {"replications": replications, "questions": self.questions}
        validation, test = (draw_difficulty(generator, **size) for _ in range(2))
        reference = self.world.draw_reference(generator, difficulty=test, seeds=self.seeds)
        runs = self.world.draw_runs(generator, replications=replications, seeds=self.seeds)
        best = np.full((2, replications, self.seeds), -1)
        picked = [np.zeros_like(reference) for _ in best]
        for _ in range(self.epochs):
            on_validation, on_test = (
                answer(generator, split + self.world.draw_response(generator, **size) + runs.shifts)
                for split in (validation, test)
            )
            for place, judge in enumerate((on_validation, on_test)):
                correct = judge.sum(axis=2, dtype=np.int32)
                better = correct > best[place]
                best[place][better], picked[place][better] = correct[better], on_test[better]
        by_validation, by_test = (differences(arm, reference=reference, paired=True).claims() for arm in picked)
        return {"validation": float(by_validation.mean()), "test": float(by_test.mean())}


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A verdict whenever the study has one of these numbers of seeds."""

    most_replications: ClassVar[int] = MANY
    seeds: tuple[int, ...]
    questions: int
    world: World

    @property
    def answers(self) -> int:
        return 2 * max(self.seeds) * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Chance of any claim, each look at LEVEL or at its share of it."""
        drawn = self.world.draw(generator, replications=replications, seeds=max(self.seeds), questions=self.questions)
        looks = [
            differences(drawn.arm[:, :number], reference=drawn.reference[:, :number], paired=self.world.paired)
            for number in self.seeds
        ]
        levels = {"fresh": LEVEL, "shared": LEVEL / len(looks)}
        return {name: _any(np.column_stack([look.claims(level=level) for look in looks])) for name, level in levels.items()}


@dataclass(frozen=True, kw_only=True)
class Exaggeration:
    """What a claimed improvement shows of the true gain."""

    most_replications: ClassVar[int] = MANY
    world: World
    seeds: int
    questions: int

    @property
    def answers(self) -> int:
        return 2 * self.seeds * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Share of studies that claim an improvement, and the sum of their gains over the true one, for each study."""
        drawn = self.world.draw(generator, replications=replications, seeds=self.seeds, questions=self.questions)
        found = differences(drawn.arm, reference=drawn.reference, paired=self.world.paired)
        improvements = found.claims() & (found.estimate > 0)
        return {
            "found": float(improvements.mean()),
            "gains": float((found.estimate * improvements).mean() / self.world.gain),
        }


def _any(claims: Flags) -> float:
    return float(claims.any(axis=1).mean())
