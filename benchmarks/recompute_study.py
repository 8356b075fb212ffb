"""The raw files of a study, read with pandas for recompute_report.py: runs, arms, scores by question. Nothing of vlm_rl is used."""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

USUAL = {"split": "test", "setting": "pass@1_t0.6", "picked_by": "val"}  # where the runs declared no endpoint
NAMED = re.compile(r"(?P<split>.+?)_(?P<setting>pass@\d+_t[\d.]+)\.parquet")
COLUMNS = ["row_id", "image_id", "kind", "modality", "verdict", "accuracy", "boxed", "finish_reason", "response_length"]
COLUMNS += ["judge_version", "answer"]
UNTRAINED = ("vanilla", "evaluated")

Cell = tuple[int, str, str]  # epoch, split, setting


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One evaluation file: a row of `questions` for each question in order of row ids, and the samples themselves."""

    path: Path
    epoch: int
    k: int
    questions: pd.DataFrame  # image, kind, modality, answer, n, right, formed, formed_right
    samples: pd.DataFrame

    @property
    def scores(self) -> pd.Series:
        """pass@k of each question, by row id."""
        return pd.Series([pass_at(n, c, self.k) for n, c in self.counts], index=self.questions.index)

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Samples and right ones of each question."""
        return list(zip(self.questions["n"].tolist(), self.questions["right"].tolist(), strict=True))

    @property
    def accuracy(self) -> float:
        """Mean over questions."""
        return math.fsum(self.scores) / len(self.questions)


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """One run folder; epoch 0 of `cells` is the vanilla model of its seed."""

    folder: Path
    manifest: dict[str, Any]
    cells: dict[Cell, Asked]
    metrics: pd.DataFrame  # a row for each generation step that was logged
    cost: pd.DataFrame  # a row for each line
    alerts: list[dict[str, Any]] | None

    @property
    def seed(self) -> int:
        """The training seed."""
        return int(self.manifest["seed"])

    @property
    def config(self) -> dict[str, Any]:
        """As it was composed."""
        return self.manifest.get("config") or {}

    @property
    def role(self) -> str:
        """policy, teacher, vanilla or evaluated."""
        return str(self.manifest.get("role", "policy"))

    def tried(self, split: str, setting: str) -> list[Asked]:
        """Evaluations after training began, in order of epochs."""
        return [self.cells[cell] for cell in sorted(self.cells) if cell[1:] == (split, setting) and cell[0] > 0]

    def logged(self, key: str) -> pd.Series:
        """A quantity of each generation step; NaN where it is missing."""
        missing = pd.Series(math.nan, index=self.metrics.index)
        return pd.to_numeric(self.metrics[key], errors="coerce") if key in self.metrics else missing


@dataclass(frozen=True, kw_only=True)
class ArmRuns:
    """The runs of one arm in order of seeds, under the name that the report gives it."""

    label: str
    runs: list[RunFiles]

    @property
    def used(self) -> list[RunFiles]:
        """The finished ones, or all where none is finished."""
        return [run for run in self.runs if run.manifest["status"] == "finished"] or self.runs


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that tables are made of."""

    arms: list[ArmRuns]  # those that were trained
    others: list[ArmRuns]  # vanilla models, and what evaluate.py measured
    endpoint: dict[str, Any]

    @property
    def splits(self) -> list[str]:
        """Every split that was evaluated."""
        return sorted({cell[1] for arm in [*self.arms, *self.others] for run in arm.runs for cell in run.cells})

    @property
    def settings(self) -> list[str]:
        """Every setting that was evaluated."""
        return sorted({cell[2] for arm in [*self.arms, *self.others] for run in arm.runs for cell in run.cells})

    def picked_epoch(self, run: RunFiles) -> int | None:
        """Where validation accuracy is highest after training began, to 12 digits; the first of equals."""
        best: Asked | None = None
        for one in run.tried(self.endpoint["picked_by"], self.endpoint["setting"]):
            if best is None or round(one.accuracy, 12) > round(best.accuracy, 12):
                best = one
        return None if best is None else best.epoch

    def picked(self, arm: ArmRuns, split: str, setting: str) -> dict[int, Asked]:
        """Each used run that was evaluated there, by seed, at its own picked epoch."""
        found = {run.seed: run.cells.get((self.picked_epoch(run) or -1, split, setting)) for run in arm.used}
        return {seed: one for seed, one in found.items() if one is not None}


def vanilla(arm: ArmRuns, split: str, setting: str) -> dict[int, Asked]:
    """The vanilla model of each used run, by seed."""
    found = {run.seed: run.cells.get((0, split, setting)) for run in arm.used}
    return {seed: one for seed, one in found.items() if one is not None}


@cache
def pass_at(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the share of k of n samples among which one of the c right ones is."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def title_of(setting: str) -> str:
    """`pass@1, T = 0.6`."""
    return setting.replace("_t", ", T = ")


def read_study(folder: Path) -> Study:
    """Read every run of a study folder."""
    manifests = sorted(folder.glob("*/seed-*/manifest.json"), key=lambda path: path.parent.name)
    runs: dict[str, dict[int, RunFiles]] = {}
    for path in manifests:
        run = read_run(path.parent)
        same_seed = runs.setdefault(run.manifest["arm"], {})
        if run.seed not in same_seed or same_seed[run.seed].manifest["status"] != "finished":
            same_seed[run.seed] = run
    by_arm = [[of_arm[seed] for seed in sorted(of_arm)] for of_arm in runs.values()]
    arms = [ArmRuns(label=label, runs=of_arm) for label, of_arm in zip(labels(by_arm), by_arm, strict=True)]
    trained = [arm for arm in arms if arm.runs[0].role not in UNTRAINED]
    others = [arm for arm in arms if arm.runs[0].role in UNTRAINED]
    return Study(arms=trained, others=others, endpoint=declared([run for arm in trained for run in arm.runs]))


def read_run(folder: Path) -> RunFiles:
    """One run with the evaluations of its vanilla model."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    cells = read_cells(folder)
    if manifest.get("vanilla"):
        before = read_cells(folder.parents[1] / manifest["vanilla"] / folder.name)
        cells = {cell: one for cell, one in before.items() if cell[0] == 0} | cells
    metrics = lines(folder / "metrics.jsonl")
    steps = metrics[metrics["event"] == "train"] if len(metrics) else metrics
    alerts = lines(folder / "alerts.jsonl").to_dict("records") if (folder / "alerts.jsonl").is_file() else None
    return RunFiles(
        folder=folder,
        manifest=manifest,
        cells=cells,
        metrics=steps.drop_duplicates("generation_steps", keep="last").sort_values("generation_steps") if len(steps) else steps,
        cost=lines(folder / "cost.jsonl"),
        alerts=alerts,
    )


def lines(path: Path) -> pd.DataFrame:
    """A row for each line of a file of JSON lines; none where there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return pd.DataFrame([json.loads(line) for line in text.splitlines() if line.strip()])


@cache
def read_cells(folder: Path) -> dict[Cell, Asked]:
    """Every evaluation file of a run folder."""
    found: dict[Cell, Asked] = {}
    for path in sorted(folder.glob("evaluations/epoch-*/*.parquet")):
        named = NAMED.fullmatch(path.name)
        assert named is not None, path
        epoch, setting = int(path.parent.name.removeprefix("epoch-")), named["setting"]
        found[epoch, named["split"], setting] = read_asked(path, epoch=epoch, k=int(setting[5:].partition("_")[0]))
    return found


def read_asked(path: Path, *, epoch: int, k: int) -> Asked:
    """Counts by question; a question without an image is an image of its own."""
    samples = pd.read_parquet(path, columns=COLUMNS)
    samples["right"] = samples["accuracy"].fillna(0) > 0.5
    samples["formed"] = samples["boxed"].fillna(False).astype(bool) & (samples["finish_reason"] == "stop")
    samples["formed_right"] = samples["right"] & samples["formed"]
    groups = samples.groupby("row_id", sort=True)
    questions = groups[["kind", "modality", "answer"]].first()
    images = groups["image_id"].first().fillna("")
    questions["image"] = images.where(images != "", questions.index.to_series())
    questions["n"] = groups.size()
    for name in ("right", "formed", "formed_right"):
        questions[name] = groups[name].sum().astype(int)
    return Asked(path=path, epoch=epoch, k=k, questions=questions, samples=samples)


def labels(by_arm: list[list[RunFiles]]) -> list[str]:
    """The shortest of four names that no other arm has: algorithm, with variant, with study, with hash."""
    names = []
    for runs in by_arm:
        one = runs[0].manifest
        image = str(runs[0].config.get("evaluation", {}).get("image", {}).get("_target_", "")).rpartition(".")[2].lower()
        what = one["algorithm"] if image in ("", "intact") else f"{one['algorithm']}, {image}"
        place = f"{one['study']}/{one['variant']}"
        names.append([what, f"{what} ({one['variant']})", f"{what} ({place})", f"{what} ({place}, {one['arm'][:8]})"])
    times = Counter(name for of_arm in names for name in of_arm)
    return [next((name for name in of_arm if times[name] == 1), of_arm[-1]) for of_arm in names]


def declared(runs: list[RunFiles]) -> dict[str, Any]:
    """What all runs declared that they are judged by, or the usual; its plan where they agree on it."""
    found = [run.config.get("evaluation", {}).get("scheme", {}).get("endpoint") or {} for run in runs]
    plan = {"reference": None, "smallest_effect": 0.02, "planned_seeds": None, "planned_looks": 1}
    measures = [{key: one.get(key) for key in USUAL} for one in found]
    is_agreed = bool(found) and all(one == measures[0] and None not in one.values() for one in measures)
    for key, usual in plan.items():
        values = [one.get(key, usual) for one in found]
        plan[key] = values[0] if values and values.count(values[0]) == len(values) else usual
    return {**(measures[0] if is_agreed else USUAL), **plan, "is_declared": is_agreed}
