"""Tables of accuracy, computed anew from evaluation files for recompute_report.py."""

import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from recompute_compare import Anew
from recompute_statistics import interval
from recompute_study import ArmRuns, Asked, RunFiles, Study, pass_at, title_of, vanilla

BY_SEED = dict[int, Asked]
DRAWS = 2000
MARKS = ("correct", "wrong", "unparsable", "timed_out")


def mean_accuracy(name: str, found: BY_SEED) -> dict[str, float]:
    """Over seeds."""
    return interval(name, [one.accuracy for one in found.values()])


def curves(arm: ArmRuns, split: str, setting: str) -> list[list[float]]:
    """Accuracy by epoch of each used run."""
    found = [[one.accuracy for one in run.tried(split, setting)] for run in arm.used]
    return [curve for curve in found if curve]


def last_epoch(arm: ArmRuns, split: str, setting: str) -> int | None:
    """The last one that all used runs have."""
    epochs = [{one.epoch for one in run.tried(split, setting)} for run in arm.used]
    return max(set.intersection(*epochs), default=None)


def at_last(arm: ArmRuns, split: str, setting: str) -> BY_SEED:
    """Every used run at that epoch."""
    epoch = last_epoch(arm, split, setting)
    return {run.seed: run.cells[epoch, split, setting] for run in arm.used if epoch is not None}


def pairs(study: Study, arm: ArmRuns, split: str, setting: str) -> list[tuple[Asked, Asked]]:
    """(vanilla, at the picked epoch) of each seed that has both."""
    before = vanilla(arm, split, setting)
    return [(before[seed], after) for seed, after in study.picked(arm, split, setting).items() if seed in before]


def accuracy(study: Study) -> Anew:
    """Vanilla, over epochs, picked and last."""
    rows = []
    for arm, split, setting in product(study.arms, study.splits, study.settings):
        before, found = vanilla(arm, split, setting), curves(arm, split, setting)
        if not before and not found:
            continue
        epochs = (study.picked_epoch(run) for run in arm.used)
        times = {run.seed: len(run.tried(split, setting)) for run in arm.used}
        rows.append(
            {"arm": arm.label, "split": split, "setting": setting, "seeds": len(found) or len(before)}
            | mean_accuracy("vanilla", before)
            | interval("mean", [math.fsum(curve) / len(curve) for curve in found])
            | interval("max", [max(curve) for curve in found])
            | interval("lucky_max", [luck(one, times[seed]) for seed, one in before.items()])
            | mean_accuracy("picked", study.picked(arm, split, setting))
            | {"selected_epochs": ", ".join(str(epoch) for epoch in epochs if epoch is not None)}
            | mean_accuracy("last", at_last(arm, split, setting))
            | {"last_epoch": last_epoch(arm, split, setting)}
        )
    loose = {"lucky_max": 0.004, "lucky_max_low": 0.015, "lucky_max_high": 0.015}
    return Anew(name="accuracy", keys=("arm", "split", "setting"), rows=rows, loose=loose)


def luck(one: Asked, evaluations: int) -> float:
    """The expected best of several evaluations of a model that does not change, drawn again from its samples; at most 1."""
    return drawn_again(tuple(one.counts), one.k, evaluations)


@cache
def drawn_again(counts: tuple[tuple[int, int], ...], k: int, evaluations: int) -> float:
    """Of samples and right ones by question; NaN for single samples, or unequal numbers of them."""
    n = counts[0][0]
    if n < 2 or evaluations < 1 or any(samples != n for samples, _ in counts):
        return math.nan
    generator = np.random.default_rng(1)
    scores = np.array([pass_at(n, right, k) for right in range(n + 1)])
    shares = np.array([right / n for _, right in counts])
    lifted = []
    for _ in range(DRAWS):
        means = scores[generator.binomial(n, shares, size=(evaluations, len(shares)))].mean(axis=1)
        lifted.append(means.max() - means.mean())
    return min(1.0, float(np.mean([scores[right] for _, right in counts]) + np.mean(lifted)))


def models(study: Study) -> dict[tuple[str, str, str], list[RunFiles]]:
    """The vanilla models by data, model and folder, with the trained runs that start from them."""
    found: dict[tuple[str, str, str], list[RunFiles]] = {}
    for run in (run for arm in study.arms for run in arm.used if run.manifest.get("vanilla")):
        found.setdefault((*trial(run), run.manifest["vanilla"]), []).append(run)
    return found


def named_models(study: Study) -> dict[str, list[RunFiles]]:
    """The same by name: with as much beside `Vanilla` as tells several apart."""
    found = models(study)
    if len(found) == 1:
        return {"Vanilla": next(iter(found.values()))}
    trials = [key[:2] for key in found]
    parts = {key: key[:2] if trials.count(key[:2]) == 1 else key for key in found}
    return {f"Vanilla ({', '.join(filter(None, parts[key]))})": runs for key, runs in found.items()}


def trial(run: RunFiles) -> tuple[str, str]:
    """Names of data and model, where the config has any."""
    return tuple((run.config.get(group) or {}).get("name") or "" for group in ("dataset", "model"))  # type: ignore[return-value]


def of_model(runs: list[RunFiles], split: str, setting: str) -> BY_SEED:
    """One vanilla model under each seed."""
    found = {run.seed: run.cells[0, split, setting] for run in runs if (0, split, setting) in run.cells}
    return dict(sorted(found.items()))


def table_3(study: Study) -> Anew:
    """A row for each vanilla model, with every arm that starts from it."""
    rows = []
    for (key, runs), split, setting in product(models(study).items(), study.splits, study.settings):
        row: dict[str, Any] = {"dataset": key[0], "model": key[1], "split": split, "setting": title_of(setting)}
        row |= mean_accuracy("vanilla", of_model(runs, split, setting))
        for arm in (arm for arm in study.arms if arm.used[0] in runs):
            found = curves(arm, split, setting)
            row |= interval(f"{arm.label}_mean", [math.fsum(curve) / len(curve) for curve in found])
            row |= interval(f"{arm.label}_max", [max(curve) for curve in found])
        rows.append(row)
    names = [f"paper_{name}" for name in ("vanilla", "sft_mean", "rl_mean", "sft_max", "rl_max")]
    cited = dict.fromkeys(names, "cited from the paper")
    return Anew(name="table_3", keys=("dataset", "model", "split", "setting"), rows=rows, left_out=cited)


def pass_at_k(study: Study) -> Anew:
    """1 - C(n - c, k) / C(n, k) of each question."""
    rows = []
    for split, setting in product(study.splits, study.settings):
        levels = {label: of_model(runs, split, setting) for label, runs in named_models(study).items()}
        for label, found in (levels | {arm.label: study.picked(arm, split, setting) for arm in study.arms}).items():
            n = min((int(one.questions["n"].min()) for one in found.values()), default=0)
            if n < 2:
                continue
            row: dict[str, Any] = {"split": split, "setting": title_of(setting), "arm": label, "seeds": len(found)}
            for k in range(1, n + 1):
                if n <= 8 or k == n or k & (k - 1) == 0:
                    each = [math.fsum(pass_at(*count, k) for count in one.counts) / len(one.counts) for one in found.values()]
                    row |= interval(f"pass@{k}", each)
            rows.append(row)
    return Anew(name="pass_at_k", keys=("split", "setting", "arm"), rows=rows)


def accuracy_by_kind(study: Study) -> Anew:
    """By modality and kind, at the picked epochs."""
    rows, setting = [], study.endpoint["setting"]
    for arm, split, by in product(study.arms, study.splits, ("modality", "kind")):
        before, after = vanilla(arm, split, setting), study.picked(arm, split, setting)
        everything = [*before.values(), *after.values()]
        for value in sorted({value for one in everything for value in one.questions[by]} - {""}):

            def share(one: Asked, by: str = by, value: str = value) -> float:
                chosen = one.scores[one.questions[by] == value]
                return math.fsum(chosen) / len(chosen) if len(chosen) else math.nan

            row = {"arm": arm.label, "split": split, "by": by, "value": value, "seeds": len(after) or len(before)}
            row["questions"] = int((everything[-1].questions[by] == value).sum())
            row |= interval("vanilla", [share(one) for one in before.values()])
            row |= interval("picked", [share(one) for one in after.values()])
            both = pairs(study, arm, split, setting)
            rows.append(row | interval("gain", [share(trained) - share(untrained) for untrained, trained in both]))
    return Anew(name="accuracy_by_kind", keys=("arm", "split", "by", "value"), rows=rows)


def marks(study: Study) -> Anew:
    """What the judge said of every sample, before training and at the last epoch."""
    rows, setting = [], study.endpoint["setting"]
    for arm, split in product(study.arms, study.splits):
        for epoch, found in (
            (0, vanilla(arm, split, setting)),
            (last_epoch(arm, split, setting), at_last(arm, split, setting)),
        ):
            samples = [one.samples for one in found.values()]
            if samples:
                row = {"arm": arm.label, "split": split, "epoch": epoch, "samples": sum(map(len, samples))}
                row |= {mark: sum(int((each["verdict"] == mark).sum()) for each in samples) for mark in MARKS}
                row["not_boxed"] = sum(int((~each["boxed"].fillna(False).astype(bool)).sum()) for each in samples)
                row["truncated"] = sum(int((each["finish_reason"] == "length").sum()) for each in samples)
                rows.append(row)
    return Anew(name="verdicts", keys=("arm", "split", "epoch"), rows=rows)
