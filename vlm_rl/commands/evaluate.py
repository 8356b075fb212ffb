"""`python evaluate.py checkpoint=...`: the whole scheme on a run, a checkpoint or a plain model. What is done is not done again."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vlm_rl.callbacks.checkpoint import saved_steps
from vlm_rl.callbacks.evaluation_schedule import evaluation_file
from vlm_rl.commands import errors, resolvers
from vlm_rl.commands.build import Experiment, build, composed, plain
from vlm_rl.commands.noise import hush
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.evaluation.evaluator import metrics
from vlm_rl.run_folder import RunFolder, write_table, write_whole


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is evaluated: overrides that rebuild it, the trained weights if any, and where the result goes."""

    overrides: list[str]
    weights: Path | None
    generation_steps: int
    out: Path


def main() -> None:
    """The console command."""
    resolvers.register()
    sys.argv, checkpoint = taken_out(sys.argv)

    @hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="evaluate")
    def run(_: DictConfig) -> None:
        target = find(checkpoint)
        cfg = composed([*target.overrides, *HydraConfig.get().overrides.task])
        if cfg.num_threads is not None:
            torch.set_num_threads(cfg.num_threads)  # as the run did: another number rounds differently
        evaluate(cfg, target)

    errors.explained(run)


def taken_out(arguments: list[str]) -> tuple[list[str], str]:
    """The arguments without `checkpoint=...`, and its value: folders of runs have commas, which Hydra would read as a sweep."""
    values = [argument.removeprefix("checkpoint=") for argument in arguments if argument.startswith("checkpoint=")]
    others = [argument for argument in arguments if not argument.startswith("checkpoint=")]
    return others, values[-1].strip("'\"").rstrip("/") if values else ""


def find(checkpoint: str) -> Target:
    """A run folder, a checkpoint in it, or the name of a model."""
    if not checkpoint:
        raise ValueError(
            "checkpoint=... is missing: a run (outputs/<study>/<variant>/seed-<N>), a checkpoint in it, or a model."
        )
    path = Path(checkpoint)
    run = path.parents[1] if path.parent.name == "checkpoints" else path
    told = RunFolder(path=run).manifest
    if told is None:
        if path.parts[:1] == ("outputs",):
            raise FileNotFoundError(
                f"{checkpoint} holds no run: no manifest.json there. Runs lie in outputs/<study>/<variant>/seed-<N>."
            )
        name = "-".join(path.parts[-2:])
        return Target(
            overrides=[f"model.name={checkpoint}"], weights=None, generation_steps=0, out=Path("outputs/evaluate") / name
        )
    saved = {step.path.name: step for step in saved_steps(RunFolder(path=run))}
    wanted = path.name if path != run else f"step-{told.get('picked_step') or -1:06d}"
    if path != run and wanted not in saved:
        raise FileNotFoundError(f"{checkpoint} is not there; this run has {', '.join(saved) or 'no checkpoint yet'}.")
    if not saved:
        raise FileNotFoundError(f"{run} has no checkpoint yet.")
    step = saved.get(wanted, list(saved.values())[-1])
    return Target(
        overrides=list(told["overrides"]),
        weights=step.path,
        generation_steps=step.generation_steps,
        out=run / "evaluate" / step.path.name,
    )


def evaluate(cfg: DictConfig, target: Target) -> dict[str, float]:
    """Runs what is missing, prints the table and returns the metrics."""
    hush()
    experiment = build(cfg)
    try:
        if target.weights is not None:
            experiment.policy.load(target.weights)
        return _evaluate(experiment, target)
    finally:
        experiment.reward.close()


def _evaluate(experiment: Experiment, target: Target) -> dict[str, float]:
    config = plain(experiment.cfg)
    settled = json.dumps([config[key] for key in ("seed", "dataset", "evaluation", "model", "rollout")], sort_keys=True)
    out = target.out.with_name(f"{target.out.name}-{hashlib.sha256(settled.encode()).hexdigest()[:8]}")
    epoch = target.generation_steps / experiment.dataset.steps_per_epoch
    tables: dict[tuple[str, str], pa.Table] = {}
    for split, setting in track(experiment.evaluator.scheme.cells, description="Evaluating"):
        file = out / evaluation_file(round(epoch), split, setting.name)
        if not file.exists():
            table = experiment.evaluator.evaluate(
                experiment.policy, split=split, setting=setting, epoch=epoch, generation_steps=target.generation_steps
            )
            write_table(file, table)
        tables[split, setting.name] = pq.read_table(file)
    values = metrics(tables, settings=experiment.evaluator.scheme.settings)
    result = {"generation_steps": target.generation_steps, "epoch": epoch, "metrics": values, "config": config}
    write_whole(out / "evaluation.json", lambda file: file.write_text(json.dumps(result, indent=1)))
    _print(values, out, target)
    return values


def _print(values: dict[str, float], out: Path, target: Target) -> None:
    table = Table(title=f"{target.weights or 'untrained model'}: accuracy in %")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    for name, value in sorted(values.items()):
        table.add_row(str(Path(name).parent), f"{100 * value:.1f}")
    console: Any = Console()
    console.print(table)
    console.print(f"Every sample is in {out}", soft_wrap=True)
