"""How far the verdict's rule carries: harder worlds, families, picked epochs, repeated looks. Run by calibration.py."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from calibration_studies import Exaggeration, Family, Harder, Looks, PickedEpoch, Study
from calibration_world import COLLAPSED, World, vanilla_share

ANSWERS_AT_A_TIME = 2_000_000
SEEDS, QUESTIONS = (3, 5, 10), (80, 600)
NULL = World(gain=0.0, seed_spread=0.1, response_spread=0.0, paired=True)  # seeds decide: their shape shows
PLAIN_RUNS = replace(NULL, seed_spread=0.02)
RESPONDING = replace(PLAIN_RUNS, response_spread=0.5)
ON_IMAGES = replace(PLAIN_RUNS, response_spread=1.0, questions_per_image=5, image_share=0.8)
COLLAPSING = replace(PLAIN_RUNS, collapse=0.2, gain=0.25 * (vanilla_share() - COLLAPSED))  # the mean gain of all runs is 0
IGNORED, SKEWED = "the same, images ignored", "seeds skewed to the left (exponential)"
COLLAPSES = {f"each seed collapses with 20 % (else spread {100 * spread:.0f} points)": spread for spread in (0.05, 0.02)}
NOT_COVERED = (IGNORED, SKEWED, *COLLAPSES)


def studies() -> Iterator[Study]:
    """All of them, table by table."""
    yield from harder_worlds()
    for (arms, questions), paired, seeds in itertools.product(((8, 80), (8, 600), (40, 80)), (True, False), (3, 5)):
        world = replace(PLAIN_RUNS, paired=paired)
        for with_gain in (0, arms // 2):
            yield Family(arms=arms, with_gain=with_gain, world=world, seeds=seeds, questions=questions)
    for seeds, questions, epochs in itertools.product((3, 5), QUESTIONS, (1, 5, 30)):
        yield PickedEpoch(epochs=epochs, seeds=seeds, questions=questions, world=RESPONDING)
    for questions, seeds in itertools.product(QUESTIONS, ((3,), (3, 5), (3, 5, 10), tuple(range(3, 11)))):
        yield Looks(seeds=seeds, questions=questions, world=PLAIN_RUNS)
    for gain, seeds, questions in itertools.product((0.02, 0.05, 0.1, 0.2), (3, 5), QUESTIONS):
        yield Exaggeration(world=replace(RESPONDING, gain=gain), seeds=seeds, questions=questions)


def harder_worlds() -> Iterator[Harder]:
    """World by world."""
    for paired in (True, False):
        for (name, world), seeds, questions in itertools.product(_worlds(paired=paired).items(), SEEDS, QUESTIONS):
            per_image = 1 if name == IGNORED else world.questions_per_image
            yield Harder(name=name, world=world, seeds=seeds, questions=questions, per_image=per_image)


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
