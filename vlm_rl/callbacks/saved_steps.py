"""The checkpoints of a run folder: which are whole, with the records that they stand for, and from which one a run goes on."""

import math
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from vlm_rl.checksums import HASHES, Hashes, damages, hash_of, read_hashes
from vlm_rl.durable_files import make_folder, sync
from vlm_rl.run_folder import RunFolder

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
            own = read_hashes(self.path / HASHES, "checkpoint")
            return [why for _, why in damages(self.path, own)]
        except (FileNotFoundError, ValueError) as error:
            return [str(error)]

    def record(self) -> Hashes:
        """The records of the run up to this step, by their path in the run's folder. Needs a whole `hashes.json`."""
        return read_hashes(self.path / HASHES, "run")


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


def step_to_resume(folder: RunFolder, *, accept_damage: bool) -> SavedStep | None:
    """The newest whole checkpoint whose records are whole, None for a run that has none yet.

    Damaged ones that are newer are moved aside. Raise ValueError naming files and way out where checkpoints are there and none
    will do, or where there must have been one. With `accept_damage` a run goes on though records are damaged.
    """
    damaged: list[tuple[SavedStep, list[str]]] = []
    records: list[str] = []
    for saved in reversed(saved_steps(folder)):
        if wrong := saved.damages():
            damaged.append((saved, wrong))
        elif (wrong := folder.damages(saved.record())) and not accept_damage:
            records += [why for why in wrong if why not in records]
        else:
            _say_damages(saved, wrong or records)
            for other, why in damaged:
                _move_aside(other, why)
            return saved
    if damaged or records:
        raise ValueError(_refusal(folder, damaged, records))
    if (steps := _steps_of(folder)) > _first_checkpoint(folder):
        raise ValueError(
            f"{folder.path / CHECKPOINTS} holds no checkpoint, though metrics.jsonl has {steps} generation steps. Put the checkpoints "
            f"back, or remove the folder {folder.path}: the same command then trains from the beginning."
        )
    return None


def problems_of_finished(folder: RunFolder) -> list[str]:
    """What is not as a finished run left it, a sentence for each file; a whole checkpoint that was removed is only printed."""
    try:
        record = read_hashes(folder.path / HASHES, "run")
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    removed = [name for name in record if name.endswith(HASHES) and not (folder.path / name).parent.exists()]
    for name in removed:
        print(f"{(folder.path / name).parent} was removed since this run was finished.", flush=True)
    there = {name: one for name, one in record.items() if name not in removed}
    return folder.damages(there) + [why for saved in saved_steps(folder) for why in saved.damages()]


def remember_finished(folder: RunFolder) -> None:
    """Write the hashes of all that a finished run has."""
    files = [saved.path / HASHES for saved in saved_steps(folder)]
    folder.remember(folder.record() | {str(file.relative_to(folder.path)): hash_of(file) for file in files})


def _say_damages(saved: SavedStep, wrong: list[str]) -> None:
    for why in wrong:
        print(f"{why}.", flush=True)
    if wrong:
        print(f"What came after generation step {saved.generation_steps} is made again, as far as it can be.", flush=True)


def _move_aside(saved: SavedStep, why: list[str]) -> None:
    folder, name = saved.path.parents[1] / DAMAGED, saved.path.name
    make_folder(folder)
    free = next(place for number in count(1) if not (place := folder / (name if number == 1 else f"{name}-{number}")).exists())
    saved.path.replace(free)
    sync(folder)
    sync(saved.path.parent)
    print(f"{why[0]}. This checkpoint is now {free}, and the run goes on from the one before it.", flush=True)


def _refusal(folder: RunFolder, damaged: list[tuple[SavedStep, list[str]]], records: list[str]) -> str:
    lines = "\n".join(f"  {why}" for why in [*(why[0] for _, why in damaged), *records][:10])
    accept = " checkpoint.accept_damage=true goes on without these records; the manifest then says so." if records else ""
    return (
        f"{folder.path} cannot go on: no checkpoint is whole together with what was recorded up to it.\n{lines}\n{_AGAIN}; or remove "
        f"the folder {folder.path}: the same command then trains from the beginning.{accept}"
    )


def _steps_of(folder: RunFolder) -> int:
    steps: list[int] = [line["generation_steps"] for line in folder.lines("metrics.jsonl") if line.get("event") == "train"]
    return max(steps, default=0)


def _first_checkpoint(folder: RunFolder) -> float:
    """The generation step after which this run had a checkpoint, as its first start declared it."""
    every = ((folder.manifest or {}).get("config") or {}).get("checkpoint", {}).get("every")
    evaluated = [line["generation_steps"] for line in folder.lines("metrics.jsonl") if line.get("event") == "evaluation"]
    return min(every if isinstance(every, int) else math.inf, min(filter(None, evaluated), default=math.inf))
