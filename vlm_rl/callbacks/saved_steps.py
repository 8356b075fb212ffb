"""The checkpoints of a run folder: which are whole, with the records that they stand for, and from which one a run goes on."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from vlm_rl.checksums import HASHES, Hashes, damages, hash_of, read_hashes
from vlm_rl.durable_files import make_folder, sync
from vlm_rl.run_folder import FINISHED, TABLES, RunFolder

CHECKPOINTS = "checkpoints"
DAMAGED = "damaged"  # the folder of checkpoints that were moved aside
_NAME = re.compile(r"step-(\d{6,})")
_AGAIN = "Put a whole copy of that file back, and type the same command again"


@dataclass(frozen=True, kw_only=True)
class SavedStep:
    """A checkpoint, whose files may have been damaged since."""

    generation_steps: int
    path: Path

    def damages(self) -> list[str]:
        """What is not as it was written, a sentence for each file."""
        try:
            own = read_hashes(self.path / HASHES, "checkpoint", of=[self.path.name])
            return [why for _, why in damages(self.path, own)]
        except (FileNotFoundError, ValueError) as error:
            return [str(error)]

    def record(self) -> Hashes:
        """The records of the run up to this step, by their path in the run's folder. Needs a whole `hashes.json`."""
        return read_hashes(self.path / HASHES, "run", of=[self.path.name])


def saved_steps(folder: RunFolder) -> list[SavedStep]:
    """The checkpoints of a run, oldest first; what was moved aside, or has another name, is none."""
    found = ((path, _NAME.fullmatch(path.name)) for path in (folder.path / CHECKPOINTS).glob("step-*") if path.is_dir())
    steps = [SavedStep(generation_steps=int(named[1]), path=path) for path, named in found if named]
    return sorted(steps, key=lambda saved: saved.generation_steps)


def check_whole(checkpoint: Path) -> None:
    """Raise ValueError naming the file where a checkpoint of a run is not as it was written."""
    if checkpoint.parent.name != CHECKPOINTS:
        return  # an export, or a model
    if wrong := SavedStep(generation_steps=0, path=checkpoint).damages():
        raise ValueError(f"{wrong[0]}. Nothing of it was loaded. {_AGAIN}, or take another checkpoint of this run.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """From which checkpoint a run goes on, and what speaks against newer ones; sentences name files."""

    saved: SavedStep | None
    damaged: dict[Path, str]  # checkpoints whose own files are not whole, newer and older
    records: list[str]  # damaged completions, evaluations, lines, and checkpoints that the run keeps


def choose(folder: RunFolder, *, accept_damage: bool = False) -> Choice:
    """The newest whole checkpoint whose records are whole, too, or may be damaged. Nothing is changed."""
    chosen: SavedStep | None = None
    damaged: dict[Path, str] = {}
    records: list[str] = []
    for saved in reversed(saved_steps(folder)):
        if wrong := saved.damages():
            damaged[saved.path] = wrong[0]
        elif chosen is None:
            wrong = _damages_of_record(folder, saved.record())
            records += [why for why in wrong if why not in records]
            chosen = saved if accept_damage or not wrong else None
    return Choice(saved=chosen, damaged=damaged, records=records)


def _damages_of_record(folder: RunFolder, record: Hashes) -> list[str]:
    """What is not as the record says; a kept checkpoint that was removed as a whole is no damage."""
    kept = [SavedStep(generation_steps=0, path=(folder.path / name).parent) for name in record if name.endswith(HASHES)]
    there = [saved for saved in kept if saved.path.exists()]
    files = {name: written for name, written in record.items() if not name.endswith(HASHES)}
    return folder.damages(files) + [why for saved in there for why in saved.damages()]


def step_to_resume(folder: RunFolder, *, accept_damage: bool) -> SavedStep | None:
    """The checkpoint that a run goes on from, None for a run that has none yet; damaged ones are moved aside.

    Raise ValueError naming files and way out where checkpoints are there and none will do, or where there must have been one.
    """
    choice = choose(folder, accept_damage=accept_damage)
    if choice.saved is None and (choice.damaged or choice.records):
        raise ValueError(_refusal(folder, choice))
    if choice.saved is None:
        _check_that_none_was_lost(folder)
        return None
    for why in choice.records:
        print(f"{why}.", flush=True)
    if choice.records:
        print(f"What came after generation step {choice.saved.generation_steps} is trained again.", flush=True)
    for path, why in choice.damaged.items():
        goes_on = ", and the run goes on from the one before it" if path > choice.saved.path else ""
        print(f"{why}. This checkpoint is now {_moved_aside(path)}{goes_on}.", flush=True)
    return choice.saved


def _check_that_none_was_lost(folder: RunFolder) -> None:
    """Raise ValueError where a run without checkpoints has records that only a run with checkpoints has."""
    lines = list(folder.lines("metrics.jsonl"))
    steps: list[int] = [line["generation_steps"] for line in lines if line.get("event") == "train"]
    evaluated = [step for line in lines if line.get("event") == "evaluation" and (step := line["generation_steps"])]
    manifest = folder.manifest or {}
    every = (manifest.get("config") or {}).get("checkpoint", {}).get("every")
    for start in manifest.get("history", []):  # the newest start decides
        every = start["changed"].get("config.checkpoint.every", {"now": every})["now"]
    first_checkpoint = min([*evaluated, *([every] if isinstance(every, int) else [])], default=math.inf)
    if (last := max(steps, default=0)) > first_checkpoint:
        raise ValueError(
            f"{folder.path / CHECKPOINTS} holds no checkpoint, though metrics.jsonl has {last} generation steps. Put the checkpoints "
            f"back, or remove the folder {folder.path}: the same command then trains from the beginning."
        )


def problems_of_finished(folder: RunFolder) -> list[str]:
    """What is not as a finished run left it, a sentence for each file; a whole checkpoint that was removed is only printed."""
    if (edited := folder.changed_manifest()) is not None:
        return [edited]
    try:
        record = folder.remembered(FINISHED)
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    removed = [name for name in record if name.endswith(HASHES) and not (folder.path / name).parent.exists()]
    for name in removed:
        print(f"{(folder.path / name).parent} was removed since this run was finished.", flush=True)
    there = {name: one for name, one in record.items() if name not in removed}
    changed = [why for _, why in damages(folder.path, there)]  # nothing was added since, either
    return changed + [why for saved in saved_steps(folder) for why in saved.damages()]


def problems_of_vanilla(folder: RunFolder) -> list[str]:
    """What is not whole of the evaluated vanilla model of a finished run."""
    try:
        check_vanilla(folder, folder.manifest or {})
    except ValueError as error:
        return [str(error)]
    return problems_of_evaluated(folder)


def problems_of_evaluated(folder: RunFolder) -> list[str]:
    """What is not whole of an evaluation without training."""
    try:
        if (folder.manifest or {}).get("status") != "finished":
            return [f"{folder.path / 'manifest.json'} does not say that it is finished"]
        changed = folder.changed_manifest()
        return [*([changed] if changed else []), *folder.damages(folder.remembered(TABLES))]
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]


def check_vanilla(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    """Raise ValueError where a vanilla model's folder holds the manifest of something else."""
    place = (folder.path.parent.name, folder.path.name)
    found = (str(manifest.get("variant")), f"seed-{manifest.get('seed')}")
    if found != place or manifest.get("role", "vanilla") != "vanilla":
        raise ValueError(
            f"{folder.path / 'manifest.json'} is that of {'/'.join(found)}, and not of this vanilla model. Put its own back, or remove "
            f"the folder {folder.path}: the command of any run of this study and seed evaluates it again."
        )


def remember_finished(folder: RunFolder) -> None:
    """Write the hashes of all that a finished run has."""
    files = [saved.path / HASHES for saved in saved_steps(folder)]
    own = {str(file.relative_to(folder.path)): hash_of(file) for file in files}
    folder.remember(folder.record() | own, of=FINISHED)


def _moved_aside(path: Path) -> Path:
    """The new place of a checkpoint: the folder `damaged` of its run."""
    folder = path.parents[1] / DAMAGED
    make_folder(folder)
    names = (path.name if number == 1 else f"{path.name}-{number}" for number in count(1))
    free = next(folder / name for name in names if not (folder / name).exists())
    path.replace(free)
    sync(folder)
    sync(path.parent)
    return free


def _refusal(folder: RunFolder, choice: Choice) -> str:
    lines = "\n".join(f"  {why}" for why in [*choice.damaged.values(), *choice.records][:10])
    accept = " checkpoint.accept_damage=true goes on without these records." if choice.records else ""
    return (
        f"{folder.path} cannot go on: no checkpoint is whole together with what was recorded up to it.\n{lines}\n{_AGAIN}; or remove "
        f"the folder {folder.path}: the same command then trains from the beginning.{accept}"
    )
