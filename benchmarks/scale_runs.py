"""Costs of the tiny model on this machine, what they predict for several processes, and what real runs took.

    python benchmarks/scale_runs.py [--rounds 2] [--study scale] [--costs costs.json]   # a few minutes; what is there is not run again

Costs come from runs of one process with 16, 32 and 128 queries a step, and from two processes that send or compute. Predicted and then run:
64 queries a step on 1, 2 and 4 processes. Nothing of these runs enters the prediction but how long responses were on one process.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scale_costs import Costs, Machine, Workload
from scale_fit import fitted, messages, of_prompts
from scale_simulation import Simulation

ROOT = Path(__file__).parents[1]
CALIBRATION, PREDICTED, STEPS = (16, 32, 128), 64, 8
PARTS = {
    "I": ("I data",),
    "II": ("II sampling",),
    "III": ("III judge", "III log-probabilities"),
    "IV": ("IV update", "IV waiting", "IV between ranks"),
}
TIMES = {
    "I": "step1_data_flow",
    "II": "step2_response_collection",
    "III": "step3_trajectory_generation",
    "IV": "step4_policy_update",
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of one process or several left behind; the first step, which warms up, is left out of all but lengths."""

    config: Mapping[str, Any]
    ranks: int
    lengths: list[np.ndarray]  # of each step, in the order of the queries
    seconds: dict[str, np.ndarray]  # of Steps I to IV as the first rank has them
    whole: np.ndarray  # from the end of a step to the end of the next one, without checkpoints
    checkpoint: float  # seconds, the median
    checkpoint_bytes: int
    evaluation: float  # seconds of the last one
    answered: list[tuple[str, str]]  # a response and the right answer


def words(*, queries: int, ranks: int, study: str) -> list[str]:
    """What is typed."""
    return [
        *("experiment=smoke", "num_threads=1", "trainer.accelerator=cpu", f"trainer.devices={ranks}", f"study={study}"),
        *(f"dataset.batch_size={queries}", f"dataset.source.train_rows={queries * STEPS}", "dataset.epochs=1"),
        *("dataset.source.val_rows=12", "dataset.source.test_rows=12", "evaluation.scheme.batch_rows=3"),
        *("algorithm.num_minibatches=4", "model.optimization.micro_batch_tokens=1024", "checkpoint.every=4"),
    ]


def train(*, queries: int, ranks: int, study: str) -> Path:
    """The folder of the run; one that is whole is not run again."""
    whole = Path("outputs", study)
    if not any('"finished"' in file.read_text() for file in whole.glob("exp*/seed-0/manifest.json")):
        command = [sys.executable, str(ROOT / "train.py"), *words(queries=queries, ranks=ranks, study=study)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return next(whole.glob("*/seed-0/cost.jsonl")).parent  # the untrained model's folder has none


def read_run(folder: Path) -> Run:
    """From its manifest, costs, completions and the times of its files."""
    config = json.loads((folder / "manifest.json").read_text())["config"]
    lines = [json.loads(line) for line in (folder / "cost.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "train"]
    tables = sorted((folder / "completions").glob("step-*.parquet"))
    ends = np.array([table.stat().st_mtime for table in tables])
    saved = {int(file.parent.name[-6:]): file for file in sorted((folder / "checkpoints").glob("step-*/hashes.json"))}
    saving = {step: file.stat().st_mtime - ends[step - 1] for step, file in saved.items() if step < len(ends)}
    whole = np.diff(ends) - np.array([saving.get(step, 0.0) for step in range(1, len(ends))])
    last = pq.read_table(tables[-1], columns=["response", "answer"]).to_pylist()
    return Run(
        config=config,
        ranks=config["trainer"]["devices"],
        lengths=[pq.read_table(table, columns=["response_length"])["response_length"].to_numpy() for table in tables],
        seconds={part: np.array([step[f"time/{name}"] for step in steps[1:]]) for part, name in TIMES.items()},
        whole=whole,
        checkpoint=float(np.median([*saving.values()])),
        checkpoint_bytes=sum(file.stat().st_size for file in min(saved.items())[1].parent.rglob("*") if file.is_file()),
        evaluation=[line for line in lines if line["event"] == "evaluation"][-1]["time/evaluation"],
        answered=[(row["response"], row["answer"]) for row in last],
    )


def workload(run: Run, *, prompt: int) -> Workload:
    """The simulator's words for the config of a run."""
    config, lengths = run.config, np.concatenate(run.lengths)
    optimization, scheme = config["model"]["optimization"], config["evaluation"]["scheme"]
    source = config["dataset"]["source"]
    return Workload(
        queries=config["dataset"]["batch_size"],
        group_size=config["algorithm"]["group_size"],
        prompt=prompt,
        mean=float(np.exp(np.log(lengths).mean() + np.log(lengths).var() / 2)),
        spread=float(np.log(lengths).std()),
        longest=config["dataset"]["max_new_tokens"],
        num_minibatches=config["algorithm"]["num_minibatches"],
        micro_batch_tokens=optimization["micro_batch_tokens"],
        forward_batch_tokens=optimization["forward_batch_tokens"],
        passes=2,  # old policy and reference
        slots=config["rollout"]["engine"]["forward_batch_size"],
        steps_per_epoch=len(run.lengths),
        checkpoint_every=config["checkpoint"]["every"],
        splits=(source["val_rows"], source["test_rows"]),
        samples=sum(setting["num_samples"] for setting in scheme["settings"]),
        batch_rows=scheme["batch_rows"],
    )


def predicted(work: Workload, costs: Costs, machine: Machine) -> dict[str, float]:
    """Seconds of each part, of a whole step without checkpoint, and of an evaluation."""
    simulation = Simulation(work, costs, machine)
    steps = [simulation.step(number) for number in range(1, STEPS)]
    means = {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
    parts = {part: sum(means[name] for name in names) for part, names in PARTS.items()}
    return parts | {"step": sum(parts.values()) + means["records"], "evaluation": simulation.evaluation()}


def measured(runs: Sequence[Run]) -> dict[str, float]:
    """The same of real runs: medians over all of their steps."""
    parts = {part: float(np.median(np.concatenate([run.seconds[part] for run in runs]))) for part in PARTS}
    whole = float(np.median(np.concatenate([run.whole for run in runs])))
    return parts | {"step": whole, "evaluation": float(np.median([run.evaluation for run in runs]))}


def line(what: str, guess: float, real: float) -> str:
    """A row of the table."""
    return f"| {what} | {guess:.2f} | {real:.2f} | {100 * (guess / real - 1):+.0f} % |"


def main() -> None:
    """Runs what is missing, fits, predicts and compares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--study", default="scale")
    parser.add_argument("--costs", type=Path, default=Path("outputs/scale-costs.json"))
    given = parser.parse_args()
    runs: dict[tuple[int, int], list[Run]] = {}
    for place in range(given.rounds):  # in turn, so that a busy quarter of an hour does not hit one size only
        for queries, ranks in (*((size, 1) for size in CALIBRATION), *((PREDICTED, count) for count in (1, 2, 4))):
            folder = train(queries=queries, ranks=ranks, study=f"{given.study}-{queries}-{ranks}-{place}")
            runs.setdefault((queries, ranks), []).append(read_run(folder))
    prompt = of_prompts(words(queries=PREDICTED, ranks=1, study=given.study))
    calibration = [run for size in CALIBRATION for run in runs[size, 1]]
    exchange = messages()
    costs = fitted([(run, workload(run, prompt=prompt)) for run in calibration], exchange=exchange)
    machine = Machine(ranks=1, cores=len(os.sched_getaffinity(0)), contention=max(1.0, exchange.contention))
    given.costs.write_text(json.dumps({"costs": asdict(costs), "machine": asdict(machine)}, indent=1))
    work = workload(runs[PREDICTED, 1][0], prompt=prompt)
    print(f"cores: {machine.cores}, two processes at a time each take {machine.contention:.2f} times as long\n")
    print("| processes | part | predicted, s | measured, s | error |\n|---|---|---|---|---|")
    of_one: dict[str, tuple[float, float]] = {}
    for ranks in (1, 2, 4):
        guess, real = predicted(work, costs, replace(machine, ranks=ranks)), measured(runs[PREDICTED, ranks])
        for part in guess:
            print(line(f"{ranks} | {part}", guess[part], real[part]))
        of_one = of_one or {part: (guess[part], real[part]) for part in guess}
        for part in ("step", "evaluation"):
            guess_one, real_one = of_one[part]
            print(line(f"{ranks} | {part}, times that of one process", guess[part] / guess_one, real[part] / real_one))


if __name__ == "__main__":
    main()
