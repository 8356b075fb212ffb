"""Tables of what runs logged while they trained, computed anew from metrics.jsonl for recompute_report.py."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from recompute_compare import Anew
from recompute_statistics import between, interval
from recompute_study import ArmRuns, RunFiles, Study
from scipy import stats

PARTS = ("first", "last", "change")
FIFTHS = {"first": "first fifth", "last": "last fifth", "change": "change"}
COLUMNS = {  # table -> column -> quantity, and the share of a step's responses that it speaks of; "-" the others
    "response_length": {
        "all": ("response_length/mean", ""),
        "terminated": ("response_length/mean_terminated", "-response_length/truncated"),
        "truncated": ("response_length/mean_truncated", "response_length/truncated"),
        "cut_off": ("response_length/truncated", ""),
    },
    "reflection": {
        "reflection_ratio": ("reflection/reflection_ratio", ""),
        "reflection_ratio_in_correct_answers": ("reflection/reflection_ratio_in_correct_answers", "train/accuracy"),
        "reflection_ratio_in_incorrect_answers": ("reflection/reflection_ratio_in_incorrect_answers", "-train/accuracy"),
        "correct_ratio_in_reflection_texts": (
            "reflection/correct_ratio_in_reflection_texts",
            "reflection/reflection_ratio",
        ),
        "correct_ratio_in_no_reflection_texts": (
            "reflection/correct_ratio_in_no_reflection_texts",
            "-reflection/reflection_ratio",
        ),
    },
    "policy": {
        "entropy": ("policy/entropy", ""),
        "kl": ("policy/kl", ""),
        "clip_fraction": ("policy/clip_fraction", ""),
        "foreign_share": ("language/foreign_share", ""),
    },
}
WORD = "reflection/word/"
RATIO, LENGTH, RIGHT = "reflection/reflection_ratio", "response_length/mean", "train/accuracy"
CORRELATED = {
    "reflection and response length": (RATIO, LENGTH),
    "reflection and accuracy": (RATIO, RIGHT),
    "response length and accuracy": (LENGTH, RIGHT),
}


def fifths(run: RunFiles, key: str, share: str = "") -> tuple[float, float, float]:
    """A quantity in the first and in the last fifth of the steps, each step with the share as its weight, and the change."""
    values = run.logged(key).to_numpy(dtype=float)
    weights = np.ones(len(values))
    if share:
        of_step = run.logged(share.removeprefix("-")).to_numpy(dtype=float)
        weights = np.nan_to_num(1 - of_step if share.startswith("-") else of_step)
    size, means = max(1, len(values) // 5), []
    for part in (slice(0, size), slice(max(0, len(values) - size), len(values))):
        known = [(value, weight) for value, weight in zip(values[part], weights[part], strict=True) if not math.isnan(value)]
        weight = math.fsum(weight for _, weight in known)
        means.append(math.fsum(value * own for value, own in known) / weight if weight > 0 else math.nan)
    return means[0], means[1], means[1] - means[0]


def behaviour(study: Study) -> Iterator[Anew]:
    """Start and end of training."""
    for name, columns in COLUMNS.items():
        rows = []
        arms = [arm for arm in study.arms if any(is_logged(arm, key) for key, _ in columns.values())]
        for arm, (place, part) in product(arms, enumerate(PARTS)):
            row = {"arm": arm.label, "seeds": len(arm.used), "when": FIFTHS[part]}
            for column, source in columns.items():
                row |= interval(column, [fifths(run, *source)[place] for run in arm.used])
            rows.append(row)
        yield Anew(name=name, keys=("arm", "when"), rows=rows)


def is_logged(arm: ArmRuns, key: str) -> bool:
    """Whether any run of the arm has any value of it."""
    return any(run.logged(key).notna().any() for run in arm.used)


def words(study: Study) -> Anew:
    """How often each reflection word occurs, for words that occur at all."""
    runs = [run for arm in study.arms for run in arm.used]
    keys = dict.fromkeys(key for run in runs for key in run.metrics if key.startswith(WORD))
    keys = [key for key in keys if any((run.logged(key) > 0).any() for run in runs)]
    rows = []
    for arm in (arm for arm in study.arms if any(is_logged(arm, key) for key in keys)):
        for key in keys:
            row: dict[str, Any] = {"arm": arm.label, "seeds": len(arm.used), "word": key.removeprefix(WORD).replace("_", " ")}
            for part, values in zip(PARTS, zip(*(fifths(run, key) for run in arm.used), strict=True), strict=True):
                row |= interval(part, values)
            rows.append(row)
    return Anew(name="reflection_words", keys=("arm", "word"), rows=rows)


def correlations(study: Study) -> Anew:
    """Spearman's rho of each seed over steps; together, the mean of Fisher's z and its t-interval, turned back."""
    rows = []
    for arm, (pair, keys) in product(study.arms, CORRELATED.items()):
        found = [rho_of(*(run.logged(key).to_numpy(dtype=float) for key in keys)) for run in arm.used]
        together = interval("rho", [math.atanh(rho) for rho, _ in found])
        if together["rho_seeds"]:
            row = {"arm": arm.label, "pair": pair, "seeds": together["rho_seeds"]}
            row |= {key: value if key == "rho_seeds" else math.tanh(value) for key, value in together.items()}
            rows.append(row | {"by_seed": ", ".join("–" if math.isnan(rho) else f"{rho:+.2f}" for _, rho in found)})
    return Anew(name="behaviour_correlations", keys=("arm", "pair"), rows=rows)


def rho_of(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Half-way off the end where rho is 1 or -1, for z; and rho itself. NaN for fewer than three steps, or where nothing varies."""
    known = ~np.isnan(x + y)
    x, y = x[known], y[known]
    n = len(x)
    if n < 3 or x.min() == x.max() or y.min() == y.max():
        return math.nan, math.nan
    rho, most = float(stats.spearmanr(x, y).statistic), 1 - 6 / (n * (n**2 - 1))
    return max(-most, min(most, rho)), rho


def seed_sensitivity(study: Study) -> Anew:
    """One-way random effects over the steps of an epoch: the share of variance between seeds, with its F-interval."""
    rows = []
    for arm in (arm for arm in study.arms if len(arm.used) > 1):
        by_seed = [lengths_by_epoch(run) for run in arm.used]
        for epoch in sorted(set.intersection(*map(set, by_seed))):
            steps = min(len(lengths[epoch]) for lengths in by_seed)
            values = np.array([lengths[epoch][:steps] for lengths in by_seed])
            means = values.mean(axis=1)
            row = {"arm": arm.label, "epoch": epoch, "seeds": len(means), "steps": steps, "spread": float(means.std(ddof=1))}
            rows.append(row | interval("length", means.tolist()) | share_between(values))
    return Anew(name="seed_sensitivity_of_length", keys=("arm", "epoch"), rows=rows)


def lengths_by_epoch(run: RunFiles) -> dict[int, list[float]]:
    """Mean response lengths of the steps that end in each epoch."""
    found: dict[int, list[float]] = {}
    for epoch, length in zip(run.logged("epoch"), run.logged(LENGTH), strict=True):
        if not math.isnan(epoch + length):
            found.setdefault(math.ceil(epoch - 1e-6), []).append(length)
    return found


def share_between(values: np.ndarray) -> dict[str, float]:
    """(F - 1) / (F + k - 1) for k steps; at its ends F is divided by the quantiles of the F distribution."""
    n, k = values.shape
    if n < 2 or k < 2:
        return between("share", (math.nan, math.nan, math.nan), n)
    within = float(values.var(axis=1, ddof=1).mean())
    f = k * float(values.mean(axis=1).var(ddof=1)) / within if within else math.inf
    high, low = (stats.f.ppf(tail, n - 1, n * (k - 1)) for tail in (0.025, 0.975))
    one, bottom, top = (min(1.0, max(0.0, (each - 1) / (each + k - 1))) for each in (f, f / low, f / high))
    return between("share", (one, bottom, top), n)


def bottleneck(study: Study, *, gain: float = 0.01) -> Anew:
    """The first epoch after which the mean training accuracy of all seeds never gains another point."""
    rows = []
    for arm in study.arms:
        by_seed = [accuracy_by_epoch(run) for run in arm.used]
        epochs = sorted(set.intersection(*map(set, by_seed)))
        means = [math.fsum(accuracy[epoch] for accuracy in by_seed) / len(by_seed) for epoch in epochs]
        stuck = [place for place in range(len(means) - 1) if max(means[place + 1 :]) - means[place] < gain - 1e-12]
        row = {"arm": arm.label, "seeds": len(by_seed), "epochs": len(epochs), "last": means[-1] if means else None}
        if stuck:
            row |= {"bottleneck": epochs[stuck[0]], "accuracy": means[stuck[0]], "best_later": max(means[stuck[0] + 1 :])}
        if epochs:
            rows.append({"bottleneck": None, "accuracy": None, "best_later": None} | row)
    return Anew(name="bottleneck", keys=("arm",), rows=rows)


def accuracy_by_epoch(run: RunFiles) -> dict[int, float]:
    """Training accuracy at the last step of each epoch."""
    both = zip(run.logged("epoch"), run.logged("train/accuracy_in_epoch"), strict=True)
    return {math.ceil(epoch - 1e-6): accuracy for epoch, accuracy in both if not math.isnan(epoch + accuracy)}
