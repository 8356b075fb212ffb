"""What ending a run by its bottleneck saves and loses, simulated: python benchmarks/bottleneck_rule.py

A run has a true training accuracy in each epoch, and its log has what so many Bernoulli answers show of it. Lost: by how much the true
accuracy still rises after the end, up to the last planned epoch. Runs on one core in seconds; the random stream is fixed.
"""

import itertools

import numpy as np

from vlm_rl.evaluation.bottleneck_rule import BottleneckRule

EPOCHS, RUNS = 30, 2000
ANSWERS = (640, 8960)  # of an epoch
AGE = np.arange(1, EPOCHS + 1)
WORLDS = {  # true accuracy by epoch
    "flat from the first epoch": np.full(EPOCHS, 0.6),
    "half of what is left every 3 epochs": 0.85 - 0.35 * 0.5 ** (AGE / 3),
    "1 point an epoch": 0.5 + 0.01 * AGE,
    "half a point an epoch": 0.5 + 0.005 * AGE,
    "6 epochs up, 6 flat, 6 up": 0.5 + 0.03 * (np.minimum(AGE, 6) + np.clip(AGE - 12, 0, 6)),
}


def outcomes(truth: np.ndarray, *, answers: int, rule: BottleneckRule, generator: np.random.Generator) -> np.ndarray:
    """(epoch of the end, points that were still to come) of each run."""
    logged = generator.binomial(answers, truth, size=(RUNS, EPOCHS)) / answers
    ends = [rule.end(run[:-1].tolist(), every_epochs=1) or EPOCHS for run in logged]
    return np.array([(end, 100 * (truth[end - 1 :].max() - truth[:end].max())) for end in ends])


def main() -> None:
    print("| True training accuracy | Answers an epoch | `epochs` | Ended early, % | Epochs saved, % | Points lost, mean |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for place, (name, answers, epochs) in enumerate(itertools.product(WORLDS, ANSWERS, (3, 5))):
        generator = np.random.Generator(np.random.Philox(key=[2504, place]))
        found = outcomes(WORLDS[name], answers=answers, rule=BottleneckRule(epochs=epochs), generator=generator)
        early, saved = 100 * (found[:, 0] < EPOCHS).mean(), 100 * (1 - found[:, 0].mean() / EPOCHS)
        print(f"| {name} | {answers:,} | {epochs} | {early:.0f} | {saved:.0f} | {found[:, 1].mean():.1f} |")


if __name__ == "__main__":
    main()
