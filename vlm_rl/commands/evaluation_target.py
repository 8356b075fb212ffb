"""What `evaluate.py checkpoint=...` names: a run, a checkpoint in it, a vanilla model or a plain one. Nothing is loaded here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.arm_hash import arm_of
from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.commands import trust
from vlm_rl.commands.resolvers import says_where
from vlm_rl.commands.searchpath import found
from vlm_rl.reports.reading.roles import role_of
from vlm_rl.run_folder import RunFolder, check_links

TRAIN = "train"  # the config of a run, unless a team has one of its own
OF_ITS_PREFLIGHT = re.compile(r"[+~]*preflight\b")  # where what was found about rows is kept, on the machine that it ran on
EVALUATED = "evaluated"  # the algorithm that a report shows for what was only evaluated here


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is evaluated: overrides that rebuild it, the trained weights if any, and where the result goes."""

    overrides: list[str]
    config_name: str  # what they are overrides of
    weights: Path | None
    generation_steps: int
    chosen: str  # picked (by validation, of a finished run), step-000123 or vanilla: seeds of one arm share it
    run: Path | None  # the run folder it belongs to
    out: Path  # without the hash of the config and the seed

    def epoch(self, *, steps_per_epoch: int) -> float:
        """Passes over the training rows at the checkpoint, as the run counted them: a step may have taken other rows."""
        for line in RunFolder(path=self.run).lines("metrics.jsonl") if self.run is not None else ():
            if line.get("event") == "train" and line.get("generation_steps") == self.generation_steps:
                return float(line["epoch"])
        return self.generation_steps / max(1, steps_per_epoch)

    def folder(self, config: dict[str, Any]) -> RunFolder:
        """`<out>-<hash>/seed-<N>`, so that several seeds lie side by side, as those of a variant."""
        return RunFolder(path=self.out.with_name(f"{self.out.name}-{arm_of(config)[:8]}") / f"seed-{config['seed']}")


def taken_out(arguments: list[str]) -> tuple[list[str], str]:
    """The arguments without `checkpoint=...`, and its value: folders of runs have commas, which Hydra would read as a sweep."""
    values = [argument.removeprefix("checkpoint=") for argument in arguments if argument.startswith("checkpoint=")]
    others = [argument for argument in arguments if not argument.startswith("checkpoint=")]
    return others, values[-1].strip("'\"").rstrip("/") if values else ""


def run_of(checkpoint: str) -> Path:
    """The run that a checkpoint lies in, or that a path is if it is one."""
    path = Path(checkpoint)
    return path.parents[1] if path.parent.name == "checkpoints" else path


def kept_searchpath(checkpoint: str, *, trusted: Sequence[str] = (), typed: Sequence[str] = ()) -> list[str]:
    """Where the configs of a run lay besides ours; nothing for a plain model.

    Raises ValueError for a place that is not trusted; where places are `typed` on this command line, only leaves it out.
    """
    run = run_of(checkpoint)
    manifest = (checkpoint and RunFolder(path=run).manifest) or {}
    file, stored = run / "manifest.json", manifest.get("searchpath", [])
    if not isinstance(stored, list) or not all(isinstance(path, str) for path in stored):
        raise ValueError(f"{file}: `searchpath` is no list of texts. {trust.NOT_OURS}")
    kept = []
    for path in found(stored, run=run):
        try:
            trust.check_searchpath([path], run=run, file=file, trusted=trusted)
            kept.append(path)
        except ValueError:
            if not typed:
                raise
    return kept


def find(checkpoint: str, *, trusted: Sequence[str] = ()) -> Target:
    """A run folder, a checkpoint in it, a vanilla model's folder, or the name of a model.

    Raises ValueError where the manifest names code of packages that are not `trusted`.
    """
    if not checkpoint:
        raise ValueError(
            "checkpoint=... is missing: a run (outputs/<study>/<variant>/seed-<N>), a checkpoint in it, or a model."
        )
    path, run = Path(checkpoint), run_of(checkpoint)
    manifest = RunFolder(path=run).manifest
    if manifest is not None:
        check_links(run)
        trust.check_manifest(manifest, file=run / "manifest.json", trusted=trusted)
        if (why := RunFolder(path=run).changed_manifest()) is not None:
            print(f"Note: {why}", flush=True)
        if role_of(manifest) == "evaluated":
            raise ValueError(f"{checkpoint} holds an evaluation. Pass what it evaluated: checkpoint={manifest['checkpoint']}.")
        if role_of(manifest) == "vanilla":
            return _vanilla(run / "evaluate" / "vanilla", run=run, **_composition(manifest))
        return _trained(path, run, manifest)
    if path.parts[:1] == ("outputs",):
        raise FileNotFoundError(
            f"{checkpoint} holds no run: no manifest.json there. Runs lie in outputs/<study>/<variant>/seed-<N>."
        )
    out = Path("outputs/evaluate") / "-".join(path.parts[-2:])
    return _vanilla(out, run=None, overrides=[f"model.name={checkpoint}"], config_name=TRAIN)


def _vanilla(out: Path, *, run: Path | None, **composition: Any) -> Target:
    return Target(**composition, weights=None, generation_steps=0, chosen="vanilla", run=run, out=out)


def _composition(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the run's config is composed from, but for where it ran."""
    overrides = [word for word in manifest["overrides"] if not says_where(word) and not OF_ITS_PREFLIGHT.match(word)]
    return {"overrides": overrides, "config_name": manifest.get("config_name", TRAIN)}


def _trained(path: Path, run: Path, manifest: dict[str, Any]) -> Target:
    saved = {step.path.name: step for step in saved_steps(RunFolder(path=run))}
    picked = f"step-{manifest.get('picked_step') or -1:06d}"
    wanted = path.name if path != run else picked
    if path != run and wanted not in saved:
        raise FileNotFoundError(f"{path} is not there; this run has {', '.join(saved) or 'no checkpoint yet'}.")
    if not saved:
        raise FileNotFoundError(f"{run} has no checkpoint yet.")
    step = saved.get(wanted, list(saved.values())[-1])
    if step.path.name != wanted:
        print(f"{run}: {_why_none_selected(manifest)} Its last checkpoint is taken, {step.path.name}.", flush=True)
    return Target(
        **_composition(manifest),
        weights=step.path,
        generation_steps=step.generation_steps,
        chosen="picked" if path == run and step.path.name == picked else step.path.name,
        run=run,
        out=run / "evaluate" / step.path.name,
    )


def _why_none_selected(manifest: dict[str, Any]) -> str:
    """Why a run has no checkpoint that validation picked."""
    if manifest["status"] != "finished":
        return "it is not finished, so validation has picked no checkpoint yet."
    if not manifest.get("picked_step"):
        return "validation picked no checkpoint."
    return f"the checkpoint that validation picked, step-{manifest['picked_step']:06d}, is not there any more."
