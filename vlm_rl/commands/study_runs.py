"""The runs of a staged study, started by `train.py` under any launcher, measured, and kept within the budget."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm_rl.commands import leaving
from vlm_rl.durable_files import write_whole
from vlm_rl.evaluation.sequential.decisions import MARK
from vlm_rl.evaluation.sequential.plan import Budget, Plan, Stage
from vlm_rl.evaluation.sequential.progress import Lot
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.reports.staged.measured import Spent, differences_of, spent_in
from vlm_rl.run_folder import RunFolder

ATTEMPTS = 2  # at the runs of a lot, before the command gives up
COSTS = "costs.jsonl"


class RunsFailed(RuntimeError):
    """Runs of a lot did not end well."""


@dataclass(frozen=True, kw_only=True)
class RunEstimate:
    """Of one run, before any was made: device hours in the best, the expected and the worst case, and the most tokens it may write."""

    hours: tuple[float, float, float]
    tokens: float


@dataclass(kw_only=True)
class StudyRuns:
    """Trains and measures for a plan; `estimates` by (stage, arm)."""

    plan: Plan
    study: str
    outputs: Path
    estimates: Mapping[tuple[str, str], RunEstimate] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Of the study's own files."""
        return self.outputs / self.study

    def folder_of(self, stage: Stage) -> Path:
        """Of the runs of a stage: a study of its own."""
        return self.outputs / self.study_of(stage)

    def study_of(self, stage: Stage) -> str:
        """The name under which the runs of a stage are kept."""
        return f"{self.study}-{stage.name}"

    def missing(self, lot: Lot, arm: str) -> list[int]:
        """The seeds of a lot that an arm has not finished."""
        seeds = range(lot.seeds)
        manifests = ((seed, RunFolder(path=self.folder_of(lot.stage) / arm / f"seed-{seed}").manifest) for seed in seeds)
        return [seed for seed, manifest in manifests if manifest is None or manifest.get("status") != "finished"]

    def differences(self, lot: Lot) -> Mapping[str, Difference]:
        """Train what of a lot is not trained yet, and compare each open arm with its reference. Raise RunsFailed or ReportError."""
        for arm in lot.trained:
            self._train(lot, arm)
        self._keep_cost(lot)
        return differences_of(self.folder_of(lot.stage), arms=lot.arms, reference=lot.stage.reference, seeds=lot.seeds)

    def _train(self, lot: Lot, arm: str) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            if not (seeds := self.missing(lot, arm)):
                return
            command = self.words(lot.stage, arm, seeds=seeds)
            self._mark(lot.stage)
            print(f"Look at {lot.seeds} seeds of stage {lot.stage.name}: {arm}, {_seeds(seeds)}.", flush=True)
            ended = subprocess.run(command, env=os.environ | {leaving.TYPED_BY: str(os.getpid())}, check=False)
            if ended.returncode in (leaving.INTERRUPTED, -2):
                raise KeyboardInterrupt
            if failed := self.missing(lot, arm):
                again = "They are taken again." if attempt < ATTEMPTS else ""
                print(f"{arm}, {_seeds(failed)}: not finished (exit code {ended.returncode}). {again}", flush=True)
        failed = self.missing(lot, arm)
        raise RunsFailed(
            f"stage {lot.stage.name}, arm {arm}: {_seeds(failed)} did not finish in {ATTEMPTS} attempts. A look without them "
            f"would be another study than was planned. Their folders in {self.folder_of(lot.stage) / arm} say why. Mend it; the same "
            "command takes them again and goes on."
        )

    def words(self, stage: Stage, arm: str, *, seeds: Sequence[int]) -> list[str]:
        """The command line of runs."""
        command, endpoint = list(self.plan.launch.command), "evaluation.scheme.endpoint"
        if command[0] == "python":
            command[0] = sys.executable
        return [
            *command,
            *stage.words,
            *self.plan.arms[arm],
            *self.plan.launch.words,
            f"study={self.study_of(stage)}",
            f"hydra.sweep.dir={self.folder_of(stage)}",
            f"hydra.sweep.subdir={arm}/seed-${{seed}}",
            f"{endpoint}.smallest_effect={self.plan.smallest_effect}",
            f"{endpoint}.planned_seeds={stage.looks[-1]}",
            f"{endpoint}.planned_looks={len(stage.looks)}",
            *([f"{endpoint}.reference={stage.reference}"] if stage.reference else []),
            f"seed={','.join(map(str, seeds))}",
        ]

    def _mark(self, stage: Stage) -> None:
        file = self.folder_of(stage) / MARK
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"study": self.study, "stage": stage.name, "looks": list(stage.looks), "begun": time.time()})
            write_whole(file, lambda place: place.write_text(text, encoding="utf-8"))

    # What it costs

    def spent(self) -> Spent:
        """By all stages."""
        return sum((spent_in(self.folder_of(stage)) for stage in self.plan.stages), Spent())

    def cost_of(self, lot: Lot) -> Spent:
        """What the missing runs of a lot will probably take: as those of its stage did, else as estimated. NaN: not known."""
        so_far, number = spent_in(self.folder_of(lot.stage)), sum(len(self.missing(lot, arm)) for arm in lot.trained)
        if so_far.runs:
            return Spent(
                device_hours=so_far.device_hours / so_far.runs * number,
                tokens=so_far.tokens / so_far.runs * number,
                runs=number,
            )
        of_arms = [(self.estimates.get((lot.stage.name, arm)), len(self.missing(lot, arm))) for arm in lot.trained]
        hours = math.fsum(math.nan if one is None else one.hours[1] * count for one, count in of_arms)
        tokens = math.fsum(math.nan if one is None else one.tokens * count for one, count in of_arms)
        return Spent(device_hours=hours, tokens=tokens, runs=number)

    def limit_passed_by(self, lot: Lot) -> str | None:
        """The first limit of the budget that a lot would pass; what nobody knows passes none."""
        needed, spent, budget = self.cost_of(lot), self.spent(), self.plan.budget
        if needed.runs == 0:
            return None
        then = used(spent + needed, budget=budget, since=self.begun())
        return next((name for name, (amount, limit) in then.items() if amount > limit), None)

    def begun(self) -> float | None:
        """When the first run was started, in seconds since 1970."""
        marks = [file for stage in self.plan.stages if (file := self.folder_of(stage) / MARK).exists()]
        return min((float(json.loads(file.read_text(encoding="utf-8"))["begun"]) for file in marks), default=None)

    def _keep_cost(self, lot: Lot) -> None:
        spent, now = self.spent(), time.time()
        lines = [line for line in read_costs(self.folder) if (line["stage"], line["seeds"]) != (lot.stage.name, lot.seeds)]
        line: dict[str, Any] = {
            "stage": lot.stage.name,
            "seeds": lot.seeds,
            "device_hours": spent.device_hours,
            "tokens": spent.tokens,
        }
        line |= {"runs": spent.runs, "wall_clock_hours": (now - (self.begun() or now)) / 3600}
        text = "".join(json.dumps(one) + "\n" for one in (*lines, line))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / COSTS, lambda place: place.write_text(text, encoding="utf-8"))


def used(spent: Spent, *, budget: Budget, since: float | None) -> dict[str, tuple[float, float]]:
    """Of each limit that a budget sets, how much is used, and how much there is."""
    price, hours = budget.price_per_device_hour or math.nan, 0.0 if since is None else (time.time() - since) / 3600
    amounts = {
        "device_hours": (spent.device_hours, budget.device_hours),
        "money": (spent.device_hours * price, budget.money),
        "tokens": (spent.tokens, budget.tokens),
        "wall_clock_hours": (hours, budget.wall_clock_hours),
    }
    return {name: (amount, limit) for name, (amount, limit) in amounts.items() if limit is not None}


def read_costs(folder: Path) -> list[dict[str, Any]]:
    """What had been spent at each look."""
    file = folder / COSTS
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
