"""How far the verdict's rule carries: studies in harder worlds, families, picked epochs, repeated looks. Run by calibration.py.

Each study is a frozen description that can simulate itself. All judge by `Differences`, so by the rule that the tests pin to the
project's own.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from calibration_decisions import Flags, differences, joined
from calibration_world import COLLAPSED, World, answer, draw_difficulty, vanilla_share

from vlm_rl.evaluation.verdict import LEVEL

ANSWERS_AT_A_TIME = 2_000_000
MANY, FEWER = 1_000_000, 4_000  # replications at most; FEWER where a study is large
SEEDS, QUESTIONS = (3, 5, 10), (80, 600)
NULL = World(gain=0.0, seed_spread=0.1, response_spread=0.0, paired=True)  # seeds decide: their shape shows
PLAIN_RUNS = replace(NULL, seed_spread=0.02)
RESPONDING = replace(PLAIN_RUNS, response_spread=0.5)
ON_IMAGES = replace(PLAIN_RUNS, response_spread=1.0, questions_per_image=5, image_share=0.8)
COLLAPSING = replace(PLAIN_RUNS, collapse=0.2, gain=0.25 * (vanilla_share() - COLLAPSED))  # the mean gain of all runs is 0


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


GAIN = 0.1  # share, of the arms of a family that gained


@dataclass(frozen=True, kw_only=True)
class PickedEpoch:
    """The test split at the epoch with the highest validation accuracy; training moves single questions and no mean."""

    most_replications: ClassVar[int] = FEWER
    epochs: int
    seeds: int
    questions: int  # of each split
    world: World = RESPONDING

    @property
    def answers(self) -> int:
        return 6 * self.seeds * self.questions

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Shares of claims by validation's pick, and by the pick of the test split itself."""
        size = {"replications": replications, "questions": self.questions}
        validation, test = (draw_difficulty(generator, **size) for _ in range(2))
        reference = self.world.draw_reference(generator, difficulty=test, seeds=self.seeds)
        runs = self.world.draw_runs(generator, replications=replications, seeds=self.seeds)
        best = np.full((2, replications, self.seeds), -1.0)
        picked = [np.zeros_like(reference) for _ in best]
        for _ in range(self.epochs):
            on_validation, on_test = (
                answer(generator, split + self.world.draw_response(generator, **size) + runs.shifts)
                for split in (validation, test)
            )
            for place, judge in enumerate((on_validation, on_test)):
                accuracy = judge.mean(axis=2)
                better = accuracy > best[place]
                best[place][better], picked[place][better] = accuracy[better], on_test[better]
        by_validation, by_test = (differences(arm, reference=reference, paired=True).claims() for arm in picked)
        return {"validation": float(by_validation.mean()), "test": float(by_test.mean())}


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A verdict whenever the study has one of these numbers of seeds."""

    most_replications: ClassVar[int] = MANY
    seeds: tuple[int, ...]
    questions: int
    world: World = PLAIN_RUNS

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


def studies() -> Iterator[Study]:
    """All of them, table by table."""
    yield from harder_worlds()
    for (arms, questions), paired, seeds in itertools.product(((8, 80), (8, 600), (40, 80)), (True, False), (3, 5)):
        world = replace(PLAIN_RUNS, paired=paired)
        for with_gain in (0, arms // 2):
            yield Family(arms=arms, with_gain=with_gain, world=world, seeds=seeds, questions=questions)
    for seeds, questions, epochs in itertools.product((3, 5), QUESTIONS, (1, 5, 30)):
        yield PickedEpoch(epochs=epochs, seeds=seeds, questions=questions)
    for questions, seeds in itertools.product(QUESTIONS, ((3,), (3, 5), (3, 5, 10), tuple(range(3, 11)))):
        yield Looks(seeds=seeds, questions=questions)
    for gain, seeds, questions in itertools.product((0.02, 0.05, 0.1, 0.2), (3, 5), QUESTIONS):
        yield Exaggeration(world=replace(RESPONDING, gain=gain), seeds=seeds, questions=questions)


def harder_worlds() -> Iterator[Harder]:
    """World by world."""
    for paired in (True, False):
        for (name, world), seeds, questions in itertools.product(_worlds(paired=paired).items(), SEEDS, QUESTIONS):
            per_image = 1 if name == IGNORED else world.questions_per_image
            yield Harder(name=name, world=world, seeds=seeds, questions=questions, per_image=per_image)


IGNORED, SKEWED = "the same, images ignored", "seeds skewed to the left (exponential)"
COLLAPSES = {f"each seed collapses with 20 % (else spread {100 * spread:.0f} points)": spread for spread in (0.05, 0.02)}
NOT_COVERED = (IGNORED, SKEWED, *COLLAPSES)


def _worlds(*, paired: bool) -> dict[str, World]:
    unequal = replace(NULL, seed_spread=0.08 if paired else 0.02 * 6**0.5, reference_spread=0.02)
    worlds = {
        "normal seeds": NULL,
        "seeds like Student's t with 3 df": replace(NULL, seeds_like="t3"),
        "seeds spread 4 times as much" if paired else "variances of the two arms 6:1": unequal,
        "5 questions on an image": ON_IMAGES,
        IGNORED: ON_IMAGES,
        SKEWED: replace(NULL, seeds_like="left-skewed"),
        **{name: replace(COLLAPSING, seed_spread=spread) for name, spread in COLLAPSES.items()},
    }
    return {name: replace(world, paired=paired) for name, world in worlds.items()}


def simulate(numbered: tuple[int, Study, int]) -> dict[str, float]:
    """Measure one study; its random stream depends on its number alone."""
    number, study, replications = numbered
    replications = min(replications, study.most_replications)
    generator = np.random.Generator(np.random.Philox(key=10_000 + number))
    chunk = max(1, ANSWERS_AT_A_TIME // study.answers)
    sizes = [min(chunk, replications - start) for start in range(0, replications, chunk)]
    parts = [study.measure(generator, replications=size) for size in sizes]
    return {name: float(np.average([part[name] for part in parts], weights=sizes)) for name in parts[0]}


def _any(claims: Flags) -> float:
    return float(claims.any(axis=1).mean())
