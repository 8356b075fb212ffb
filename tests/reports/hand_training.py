"""Arms whose training records are given by hand: no files, one line for each generation step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.dynamics import LengthBins
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.runs import Run
from vlm_rl.reports.reading.training import Training

Values = Sequence[float | None]


def run_of(
    *, seed: int, bins: LengthBins | None = None, algorithm: str = "grpo", finished: bool = True, **keys: Values
) -> RunRecords:
    """A run with a value for each step under each key, `/` written as `__`; two steps make an epoch."""
    num_steps = max(map(len, keys.values()), default=0)
    lines: list[dict[str, Any]] = [{"event": "train", "generation_steps": n, "epoch": n / 2} for n in range(1, num_steps + 1)]
    for key, values in keys.items():
        for line, value in zip(lines, values, strict=True):
            line[key.replace("__", "/")] = value
    names = {"study": "s", "variant": algorithm, "seed": seed, "arm": algorithm, "algorithm": algorithm, "finished": finished}
    rest = {"judge_version": "judge-1", "commit": "0123", "data": {}, "vanilla": None}
    run = Run(path=Path(f"s/{algorithm}/seed-{seed}"), **names, **rest)
    training = Training(records=tuple(lines), length_bins=bins)
    return RunRecords(run=run, evaluations={}, training=training, cost=(), alerts=())


def records_of(*runs: RunRecords, label: str = "grpo") -> Records:
    """One arm."""
    return Records(arms=(Arm(label=label, runs=runs),), problems=())
