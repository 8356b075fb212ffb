"""Tables of runs and of what they cost, computed anew from manifests and cost.jsonl for recompute_report.py."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from recompute_compare import Anew
from recompute_statistics import interval
from recompute_study import RunFiles, Study

STEPS = ("step1_data_flow", "step2_response_collection", "step3_trajectory_generation", "step4_policy_update", "evaluation")


def own_lines(run: RunFiles) -> pd.DataFrame:
    """The lines of cost.jsonl after training began."""
    return run.cost[run.cost["generation_steps"] > 0] if len(run.cost) else run.cost


def total(lines: pd.DataFrame, key: str) -> float:
    """The sum of a quantity; NaN where no line has it."""
    known = pd.to_numeric(lines[key], errors="coerce").dropna() if key in lines else pd.Series(dtype=float)
    return math.fsum(known) if len(known) else math.nan


def seconds(lines: pd.DataFrame) -> float:
    """Of the four steps and of evaluation; NaN where none was timed."""
    known = [value for step in STEPS if not math.isnan(value := total(lines, f"time/{step}"))]
    return math.fsum(known) if known else math.nan


def is_whole_machine(run: RunFiles) -> bool:
    """One machine without accelerators."""
    trainer = run.config.get("trainer") or {}
    on_cpu = str(run.manifest.get("machine", "")).endswith("no GPU") or trainer.get("accelerator") == "cpu"
    return on_cpu and int(trainer.get("num_nodes") or 1) == 1


def alone(run: RunFiles) -> float:
    """Device hours if nothing else ran on the machine; NaN where the number of devices was left open."""
    trainer, time = run.config.get("trainer") or {}, seconds(own_lines(run)) / 3600
    if is_whole_machine(run):
        return time
    devices = trainer.get("devices")
    count = len(devices) if isinstance(devices, list) else devices
    return time * int(count) * int(trainer.get("num_nodes") or 1) if str(count).isdigit() else math.nan


def hours_of(study: Study) -> dict[str, float]:
    """By run folder: each moment of a machine without accelerators is shared by the runs that were at work then."""
    runs = [run for arm in [*study.arms, *study.others] for run in arm.runs]
    hours = {str(run.folder): alone(run) for run in runs}
    spans = [span for run in runs if is_whole_machine(run) and not math.isnan(hours[str(run.folder)]) for span in spans_of(run)]
    shared: dict[str, float] = {}
    for host in {span[0] for span in spans}:
        here = [span for span in spans if span[0] == host]
        edges = sorted({edge for span in here for edge in span[2:]})
        for begin, end in pairwise(edges):
            at_work = [folder for _, folder, first, last in here if first <= begin and end <= last]
            for folder in at_work:
                shared[folder] = shared.get(folder, 0.0) + (end - begin) / len(at_work) / 3600
    return hours | shared


def spans_of(run: RunFiles) -> Iterator[tuple[str, str, float, float]]:
    """(host, folder, begin, end) of each start; the first one evaluated the vanilla model before."""
    starts = run.manifest.get("history") or []
    begun = [-math.inf, *(start["generation_steps"] for start in starts[1:]), math.inf]
    before = run.cost[run.cost["generation_steps"] <= 0] if len(run.cost) else run.cost
    for place, start in enumerate(starts):
        begin = datetime.fromisoformat(start["time"]).timestamp()
        if place == 0 and not math.isnan(waited := seconds(before)):
            begin += waited
        steps = own_lines(run)
        done = steps[(steps["generation_steps"] > begun[place]) & (steps["generation_steps"] <= begun[place + 1])]
        lasted = seconds(done)
        yield start["host"], str(run.folder), begin, begin + (0.0 if math.isnan(lasted) else lasted)


def points_of(study: Study, run: RunFiles) -> float:
    """What the endpoint's accuracy of one run rose by, in points."""
    where = (study.endpoint["split"], study.endpoint["setting"])
    before, after = run.cells.get((0, *where)), run.cells.get((study.picked_epoch(run) or -1, *where))
    return math.nan if before is None or after is None else 100 * (after.accuracy - before.accuracy)


def per(points: Sequence[float], costs: Sequence[float]) -> float:
    """Points of all runs together for what they cost together."""
    both = [(gain, cost) for gain, cost in zip(points, costs, strict=True) if not math.isnan(gain + cost)]
    spent = math.fsum(cost for _, cost in both)
    return math.fsum(gain for gain, _ in both) / spent if spent > 0 else math.nan


def cost(study: Study) -> Anew:
    """Averages over the runs that have costs."""
    rows, hours = [], hours_of(study)
    for arm in study.arms:
        runs = [run for run in arm.used if len(run.cost)]
        if not runs:
            continue
        of_runs = [own_lines(run) for run in runs]
        tokens, spent = [total(lines, "tokens/response") for lines in of_runs], [hours[str(run.folder)] for run in runs]
        gained = [points_of(study, run) for run in runs]
        row: dict[str, Any] = {"arm": arm.label, "seeds": len(runs)}
        row |= same_or_mean("generation_steps", [float(run.cost["generation_steps"].max()) for run in runs])
        row |= interval("tokens", tokens) | interval("thrown_away", [total(lines, "tokens/thrown_away") for lines in of_runs])
        for step in STEPS:
            row |= interval(f"{step}_seconds", [total(lines, f"time/{step}") for lines in of_runs])
        row |= interval("seconds", [seconds(lines) for lines in of_runs]) | interval("device_hours", spent)
        row |= interval("peak_bytes", [peak(run) for run in runs])
        row["points_per_device_hour"] = per(gained, spent)
        row["points_per_million_tokens"] = per(gained, [count / 1e6 for count in tokens])
        rows.append(row)
    price = dict.fromkeys(("money", "points_per_money"), "the price is a setting of the report")
    return Anew(name="cost", keys=("arm",), rows=rows, left_out=price)


def peak(run: RunFiles) -> float:
    """The most memory of any line."""
    return float(run.cost["memory/peak_bytes"].max()) if "memory/peak_bytes" in run.cost else math.nan


def same_or_mean(name: str, values: Sequence[float]) -> dict[str, float]:
    """One number where all seeds agree."""
    return {name: values[0]} if len(set(values)) == 1 else interval(name, values)


def fairness(study: Study) -> Anew:
    """What each arm was given."""
    rows = []
    for arm in study.arms:
        config = arm.used[0].config
        last = {
            key: [float(run.logged(key).max()) for run in arm.used] for key in ("generation_steps", "epoch", "gradient_steps")
        }
        batch = float((config.get("dataset") or {}).get("batch_size") or math.nan)
        of_runs = [own_lines(run) for run in arm.used]
        learned = [total(lines, "tokens/response") - np.nan_to_num(total(lines, "tokens/thrown_away")) for lines in of_runs]
        in_epoch = [steps * batch / epochs for steps, epochs in zip(last["generation_steps"], last["epoch"], strict=True)]
        row = {"arm": arm.label, "seeds": len(arm.used)} | same_or_mean("rows", in_epoch)
        row |= same_or_mean("epochs", last["epoch"]) | same_or_mean("updates", last["gradient_steps"])
        rows.append(row | interval("tokens", learned) | interval("seconds", [seconds(lines) for lines in of_runs]))
    names = dict.fromkeys(("model", "data", "learning_rate", "selection"), "a setting of the config, not a measurement")
    return Anew(name="fairness", keys=("arm",), rows=rows, left_out=names)


def runs(study: Study) -> Anew:
    """Every run."""
    rows = []
    for arm in [*study.arms, *study.others]:
        for run in arm.runs:
            one = run.manifest
            own = [asked for asked in run.cells.values() if asked.path.is_relative_to(run.folder)]
            judges = sorted({version for asked in own for version in asked.samples["judge_version"]})
            status = (
                "finished" if one["status"] == "finished" else "unfinished, used" if run in arm.used else "unfinished, left out"
            )
            row = {"arm": arm.label, "run": f"{one['study']}/{one['variant']}/seed-{run.seed}", "status": status}
            row |= {"generation_steps": len(run.metrics), "epochs": len({cell[0] for cell in run.cells if cell[0] > 0})}
            row |= {"vanilla": "yes" if any(cell[0] == 0 for cell in run.cells) else "no"}
            row |= {"alerts": None if run.alerts is None else len(run.alerts)}
            if (end := one.get("bottleneck")) is not None:
                row |= {"ended": f"{end['epoch']} of {end['of_epochs']}", "saved_steps": end["saved_generation_steps"]}
                row |= {"saved_hours": end["saved_seconds"] / 3600}
            row |= {"judge": ", ".join(judges) or one.get("judge_version", "")}
            rows.append(row | {"commit": (one["git"].get("commit") or "")[:10], "hash": one["arm"][:8]})
    return Anew(name="runs", keys=("run",), rows=rows, left_out={"files": "hashes are not computed anew"})
