"""Tables that are counted in stored texts, and rliable's aggregates, computed anew for recompute_report.py."""

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recompute_compare import Anew
from recompute_scores import BY_SEED, named_models, of_model
from recompute_statistics import interval
from recompute_study import ArmRuns, Asked, RunFiles, Study, vanilla
from scipy import stats

WORDS = (  # Ma et al. 2025, Sec. 4
    *("re-check", "re-evaluate", "re-examine", "re-think", "recheck", "reevaluate", "reexamine", "reevaluation", "rethink"),
    *("check again", "think again", "try again", "verify", "wait", "yet"),
)
STAGES = ("vanilla", "picked by validation", "last")
QUINTILES = ("shortest fifth", "second fifth", "third fifth", "fourth fifth", "longest fifth")
BOOTSTRAP = "a bootstrap with its own random draws"
MATHEMATICAL = ((0x2100, 0x214F), (0x1D400, 0x1D7FF), (0x1EE00, 0x1EEFF))  # letters that are no letters of a language

Rule = tuple[str, tuple[str, ...]]


def rule_of(run: RunFiles) -> Rule:
    """How words are found, and which."""
    declared = (run.config.get("evaluation") or {}).get("reflection") or {}
    return str(declared.get("_target_", "WholeWords")).rpartition(".")[2], tuple(declared.get("words") or WORDS)


def reflects(text: str, rule: Rule) -> bool:
    """Whether any word occurs: as a word of its own, where hyphens belong to words; or, by the authors' rule, anywhere."""
    kind, words = rule
    lowered = text.lower()
    if kind == "Substrings":
        return any(word.lower() in lowered for word in words)
    plain = " ".join(lowered.replace("\u2010", "-").replace("\u2011", "-").split())
    return re.search(whole_words(words), plain) is not None


@cache
def whole_words(words: tuple[str, ...]) -> str:
    """Neither a letter, a digit or an underscore beside it, nor such behind a hyphen."""
    return r"(?<!\w)(?<!\w-)(?:" + "|".join(re.escape(word.lower()) for word in words) + r")(?!\w)(?!-\w)"


def share_foreign(text: str) -> float:
    """Letters that are neither Latin nor Greek, of all letters outside LaTeX commands."""
    letters = [sign for sign in re.sub(r"\\[A-Za-z]+", "", text) if unicodedata.category(sign).startswith("L")]
    letters = [sign for sign in letters if not any(low <= ord(sign) <= high for low, high in MATHEMATICAL)]
    names = [unicodedata.name(sign, "") for sign in letters if ord(sign) >= 0x370]
    foreign = sum("LATIN" not in name and "GREEK" not in name for name in names)
    return foreign / len(letters) if letters else 0.0


@cache
def answers(path: Path, rule: Rule) -> dict[str, float]:
    """What the samples of one file say."""
    rows = pd.read_parquet(path, columns=["response", "accuracy", "finish_reason", "response_length"])
    texts, right = rows["response"].fillna(""), rows["accuracy"].fillna(0) > 0.5
    reflective = texts.map(lambda text: reflects(text, rule))
    return {
        "reflection_ratio": float(reflective.mean()),
        "length": float(rows["response_length"].mean()),
        "truncated": float((rows["finish_reason"] == "length").mean()),
        "foreign_share": math.fsum(map(share_foreign, texts)) / len(texts),
        "correct_ratio_in_reflection_texts": float(right[reflective].mean()),
        "correct_ratio_in_no_reflection_texts": float(right[~reflective].mean()),
        "reflective": int(reflective.sum()),
        "others": int((~reflective).sum()),
    }


def if_enough(name: str, values: Sequence[float], counts: Sequence[int]) -> dict[str, float]:
    """A mean over seeds of shares of a few responses; missing below 20 responses, or three seeds (of three or more)."""
    enough = sum(counts) >= 20 and sum(count > 0 for count in counts) >= min(3, len(counts))
    return interval(name, values if enough else [])


def evaluation_behaviour(study: Study) -> Anew:
    """Before training, picked, and the last epoch of each run."""
    rows, setting = [], study.endpoint["setting"]
    for arm, split in product(study.arms, study.splits):
        last = {run.seed: run.tried(split, setting)[-1] for run in arm.used if run.tried(split, setting)}
        rules = {run.seed: rule_of(run) for run in arm.used}
        for stage, found in zip(STAGES, (vanilla(arm, split, setting), study.picked(arm, split, setting), last), strict=True):
            said = [answers(one.path, rules[seed]) for seed, one in found.items()]
            if not said:
                continue
            row: dict[str, Any] = {"arm": arm.label, "split": split, "stage": stage, "seeds": len(said)}
            row["reflective"] = sum(each["reflective"] for each in said)
            for name in ("reflection_ratio", "length", "truncated", "foreign_share"):
                row |= interval(name, [each[name] for each in said])
            for kind, among in (("", "reflective"), ("no_", "others")):
                name = f"correct_ratio_in_{kind}reflection_texts"
                row |= if_enough(name, [each[name] for each in said], [int(each[among]) for each in said])
            rows.append(row)
    return Anew(name="evaluation_behaviour", keys=("arm", "split", "stage"), rows=rows)


def length_held_fixed(study: Study) -> Anew:
    """Fifths by length within each step, counts pooled over the steps of a run."""
    rows = []
    for arm in study.arms:
        counts = [found for run in arm.used if (found := by_quintile(run)) is not None]
        for place, quintile in enumerate(QUINTILES if counts else ()):
            n, reflective, right, both = np.array([of_run[place] for of_run in counts]).T
            with np.errstate(invalid="ignore", divide="ignore"):
                among, others = both / reflective, (right - both) / (n - reflective)
                row: dict[str, Any] = {"arm": arm.label, "seeds": len(counts), "quintile": quintile, "responses": int(n.sum())}
                row |= {"reflective": int(reflective.sum())} | interval("reflection_ratio", (reflective / n).tolist())
            row |= if_enough("correct_if_reflective", among.tolist(), reflective.tolist())
            row |= if_enough("correct_if_plain", others.tolist(), (n - reflective).tolist())
            least = np.minimum(reflective, n - reflective).tolist()
            rows.append(row | if_enough("difference", (among - others).tolist(), least))
    return Anew(name="length_held_fixed", keys=("arm", "quintile"), rows=rows)


def by_quintile(run: RunFiles) -> np.ndarray | None:
    """(quintiles, 4): responses, reflective ones, right ones, both; None where a run wrote no responses of its own."""
    files = sorted((run.folder / "completions").glob("step-*.parquet"))
    if run.role == "teacher" or not files:
        return None
    total = np.zeros((5, 4), dtype=int)
    for file in files:
        rows = pd.read_parquet(file, columns=["response", "accuracy", "response_length"])
        lengths, right = rows["response_length"].fillna(0).astype(int), rows["accuracy"].fillna(0) > 0.5
        reflective = rows["response"].fillna("").map(lambda text: reflects(text, rule_of(run)))
        for length, is_right, is_reflective in zip(lengths, right, reflective, strict=True):
            below, up_to = int((lengths < length).sum()), int((lengths <= length).sum())
            quintile = 5 * (below + up_to) // (2 * len(lengths))
            total[quintile] += (1, is_reflective, is_right, is_right and is_reflective)
    return total


def aggregates(study: Study) -> Anew:
    """Interquartile mean over runs x kinds, and how often a trained run beats a vanilla one on a kind."""
    rows, where = [], (study.endpoint["split"], study.endpoint["setting"])
    for arm in (arm for arm in study.arms if study.picked(arm, *where)):
        after, before = study.picked(arm, *where), vanilla(arm, *where)
        trained, untrained = cells_of(after), cells_of(before)
        row: dict[str, Any] = {"arm": arm.label, "seeds": len(after), "cells": trained.size}
        first = next(iter(after.values())).questions["image"]
        is_same = all(one.questions["image"].equals(first) for one in (*after.values(), *before.values()))
        row["left_out"] = (
            "the seeds answered different questions"
            if not is_same
            else "a single seed"
            if len(after) < 2
            else "fewer than 12 cells"
            if trained.size < 12
            else ""
        )
        if not row["left_out"]:
            row |= {"iqm": float(stats.trim_mean(trained, 0.25, axis=None)), "iqm_seeds": len(after)}
            if len(before) > 1:
                row |= {"iqm_vanilla": float(stats.trim_mean(untrained, 0.25, axis=None)), "iqm_vanilla_seeds": len(before)}
                wins = [
                    (a > b) + (a == b) / 2
                    for ours in trained
                    for theirs in untrained
                    for a, b in zip(ours, theirs, strict=True)
                ]
                row |= {"improvement": float(np.mean(wins)), "improvement_seeds": min(len(after), len(before))}
        rows.append(row)
    ends = [f"{name}_{end}" for name in ("iqm", "iqm_vanilla", "improvement") for end in ("low", "high")]
    return Anew(name="aggregates", keys=("arm",), rows=rows, left_out=dict.fromkeys(ends, BOOTSTRAP))


def cells_of(found: BY_SEED) -> np.ndarray:
    """(runs, kinds): the mean score on each kind of problem."""
    return np.array([one.scores.groupby(one.questions["kind"]).mean().to_numpy() for one in found.values()])


def blind_controls(study: Study) -> Anew:
    """Only what the right figures gave, and chance; and only where no control was evaluated, which would choose the seeds."""
    rows, setting = [], study.endpoint["setting"]
    for split in study.splits:
        levels = {label: of_model(runs, split, setting) for label, runs in named_models(study).items()}
        levels |= {arm.label: picked_or_vanilla(study, arm, split) for arm in study.arms}
        for label, found in ((label, found) for label, found in levels.items() if found):
            first = next(iter(found.values())).questions
            for modality in (*sorted(set(first["modality"]) - {""}), "anywhere"):
                chosen = first if modality == "anywhere" else first[first["modality"] == modality]
                row: dict[str, Any] = {"model": label, "split": split, "modality": modality, "questions": len(chosen)}
                row["chance"] = int(chosen["answer"].str.strip().value_counts().iloc[0]) / len(chosen)
                row |= interval("intact", [accuracy_on(one, modality) for one in found.values()])
                for name in ("blank", "shuffled", "drop_blank", "drop_shuffled"):
                    row |= interval(name, [])
                rows.append(row | {"seeds": len(found)})
    why = {"to_do": "a command"}
    return Anew(name="blind_controls", keys=("model", "split", "modality"), rows=rows, left_out=why)


def picked_or_vanilla(study: Study, arm: ArmRuns, split: str) -> BY_SEED:
    """Each used run at its picked epoch, or as it began where none was picked."""
    cells = {run.seed: run.cells.get((study.picked_epoch(run) or 0, split, study.endpoint["setting"])) for run in arm.used}
    return {seed: one for seed, one in cells.items() if one is not None}


def accuracy_on(one: Asked, modality: str) -> float:
    """Of all questions, or of those of one modality."""
    return float(one.scores.mean() if modality == "anywhere" else one.scores[one.questions["modality"] == modality].mean())
