"""Checkpoints that a run resumes from exactly and plain PEFT or Transformers loads; written beside their name, synced, renamed.

The last file of each is `hashes.json`: its own files, and all records of the run up to its step, which are on the disk before it.
"""

import pickle
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning
import torch
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.callbacks.optimizer_state import MOMENTS, load_moments, moments_of_parts, without_parts
from vlm_rl.callbacks.optimizer_state import check_optimizer as check_optimizer
from vlm_rl.callbacks.saved_steps import SavedStep, saved_steps
from vlm_rl.checksums import HASHES, Hashes, hash_of, write_hashes
from vlm_rl.durable_files import make_folder, sync
from vlm_rl.models.loading import TRAINER_STATE
from vlm_rl.models.policy import Policy
from vlm_rl.models.weight_parts import save_parts
from vlm_rl.module import Progress, VLMReinforcement, reinforcement
from vlm_rl.rollout.engine import NoServerLeft
from vlm_rl.run_folder import RunFolder

NOTE = """\
A checkpoint of a training run, as vlm-rl left it. The run's `manifest.json`, two folders up, says what was trained and how. This is not a
model card: it does not say whether training helped.

    python export.py checkpoint=<this folder> folder=my-adapter

makes a folder to share, whose model card carries the verdict of the study's report.
"""


COUNTS = ("generation_steps", "gradient_steps")


class Checkpoint(lightning.Callback):
    """Keeps the newest checkpoints, the one that validation selects, and every k-th with `keep_every`."""

    def __init__(
        self, *, folder: RunFolder, schedule: EvaluationSchedule, every: int, keep_newest: int, keep_every: int | None
    ) -> None:
        if keep_newest < 1:
            raise ValueError(
                f"checkpoint.keep_newest={keep_newest}: a run needs one to go on from. Give 2, or 1 on a small disk."
            )
        self._folder, self._schedule, self._every = folder, schedule, every
        self._keep_newest, self._keep_every = keep_newest, keep_every
        self.resumed: SavedStep | None = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if self.resumed is None:
            return
        # On the CPU: the optimizer takes its moments to the weights, and its counts of steps must stay, or each step waits for them.
        file = self.resumed.path / TRAINER_STATE
        state = _state(file)
        check_optimizer(state["optimizer"], trainer.optimizers[0], file=file)
        module.progress.generation_steps = state["generation_steps"]
        module.progress.gradient_steps = state["gradient_steps"]
        module.policy.version = state["generation_steps"]
        try:
            trainer.optimizers[0].load_state_dict(state["optimizer"])
            load_moments(trainer.optimizers[0], module.policy.vlm, folder=self.resumed.path)
            trainer.lr_scheduler_configs[0].scheduler.load_state_dict(state["schedule"])
            module.collection.load_state_dict(state.get("collection", {}))
            for name, callback in self._stateful(trainer).items():
                callback.load_state_dict(state["callbacks"][name])
        except (KeyError, TypeError, AttributeError):
            raise ValueError(_damaged(file)) from None
        best = self._schedule.best_step
        if trainer.is_global_zero and best not in {None, *(saved.generation_steps for saved in saved_steps(self._folder))}:
            print(f"The checkpoint that validation selects so far, step-{best:06d}, is not there any more.", flush=True)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        if self._is_regular(module.progress):
            self._save(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if not module.progress.generation_steps:
            return
        if not ranks.from_first(self._path(module).exists()):
            self._save(trainer, module)
        elif trainer.is_global_zero:  # it was killed between its last checkpoint and this
            self._drop_others(module.progress)

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        """Where no server is left to sample, the steps so far are whole: they are kept."""
        module = reinforcement(pl_module)
        if isinstance(exception, NoServerLeft) and module.progress.generation_steps and trainer.is_global_zero:
            if not self._path(module).exists():
                self._write(trainer, module)
            print(f"{self._path(module)} holds all generation steps so far.", flush=True)

    def _is_regular(self, progress: Progress) -> bool:
        """Whether every run has a checkpoint here, also one that nobody stopped."""
        return progress.generation_steps % self._every == 0 or self._schedule.is_due(progress)

    def _path(self, module: VLMReinforcement) -> Path:
        return self._folder.path / "checkpoints" / f"step-{module.progress.generation_steps:06d}"

    def _save(self, trainer: lightning.Trainer, module: VLMReinforcement) -> None:
        with module.policy.layout.gathered() if module.policy.adapter is not None else nullcontext():
            if trainer.is_global_zero or module.policy.layout.trains_parts:
                self._write(trainer, module)
        trainer.strategy.barrier()

    def _write(self, trainer: lightning.Trainer, module: VLMReinforcement) -> None:
        state = {
            "generation_steps": module.progress.generation_steps,
            "gradient_steps": module.progress.gradient_steps,
            "optimizer": without_parts(trainer.optimizers[0].state_dict()),
            "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "collection": module.collection.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self._stateful(trainer).items()},
        }
        record = self._folder.record() | self._kept_for_good(before=module.progress.generation_steps)
        moments = moments_of_parts(trainer.optimizers[0], module.policy.vlm)
        save_whole(self._path(module), module.policy, state, record=record, moments=moments)
        if trainer.is_global_zero:
            self._drop_others(module.progress)

    @staticmethod
    def _stateful(trainer: lightning.Trainer) -> dict[str, Any]:
        ours = [callback for callback in trainer.callbacks if type(callback).__module__.startswith("vlm_rl")]  # type: ignore[attr-defined]
        return {type(callback).__name__: callback for callback in ours if callback.state_dict()}

    def _kept_for_good(self, *, before: int) -> Hashes:
        """`hashes.json` of the older checkpoints that nothing makes again: the one that validation selects, and every k-th."""
        every = self._keep_every
        paths = [
            saved.path / HASHES
            for saved in saved_steps(self._folder)
            if saved.generation_steps < before
            and (saved.generation_steps == self._schedule.best_step or (every and saved.generation_steps % every == 0))
        ]
        return {str(path.relative_to(self._folder.path)): hash_of(path) for path in paths if path.exists()}

    def _drop_others(self, progress: Progress) -> None:
        """Remove those that are not kept: so the same ones are left whether the run was stopped on its way or not.

        Those of later steps go, too: this run went back behind them, and makes them again.
        """
        now, steps = progress.generation_steps, {saved.generation_steps: saved.path for saved in saved_steps(self._folder)}
        regular = [step for step in steps if step < now and self._is_regular(replace(progress, generation_steps=step))]
        needed = {self._schedule.best_step, *getattr(self._schedule, "pending_steps", [])}
        kept = {now, *needed, *[*regular, now][-self._keep_newest :]}
        if self._keep_every is not None:
            kept |= {step for step in steps if step <= now and step % self._keep_every == 0}
        for step in steps.keys() - kept:
            _discard(steps[step])


def _state(file: Path) -> dict[str, Any]:
    """What is in the file, tensors and plain values only. Torch's own message advises to run whatever else is in it."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file} is not there. Copy that checkpoint again, or remove the folder {file.parent}: the same command then goes on "
            "from the checkpoint before it."
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise ValueError(_damaged(file)) from None
    if not isinstance(state, dict) or not {*COUNTS, "optimizer", "schedule"} <= state.keys():
        raise ValueError(_damaged(file))
    if not all(type(state[count]) is int and state[count] >= 0 for count in COUNTS):
        raise ValueError(_damaged(file))
    return state


def _damaged(file: Path) -> str:
    return (
        f"{file} is damaged, or vlm-rl did not make it. Nothing in it was run. Remove the folder {file.parent}: the same command "
        "then goes on from the checkpoint before it."
    )


def save_whole(
    path: Path, policy: Policy, state: dict[str, Any], *, record: Hashes, moments: Mapping[str, Tensor] = MappingProxyType({})
) -> None:
    """Writes a checkpoint so that a crash at any moment leaves the old ones and no half one; `record`: what it stands for.

    The first rank calls this, and every rank where the policy trains parts.
    """
    temporary = path.with_name(path.name + ".tmp")
    if ranks.is_first():
        make_folder(path.parent)
        for leftover in path.parent.glob("*.tmp"):
            shutil.rmtree(leftover)
        temporary.mkdir()
    if policy.layout.trains_parts:
        ranks.gathered(None)  # the folder is there
    policy.save(temporary)
    if policy.layout.trains_parts:
        save_parts(moments, temporary / MOMENTS)
    if not ranks.is_first():
        return
    (temporary / "README.md").write_text(NOTE, encoding="utf-8")  # in place of PEFT's form to be filled in
    torch.save(state, temporary / TRAINER_STATE)
    files = sorted(file for file in temporary.rglob("*") if file.is_file())
    for file in files:
        sync(file)
    own = {str(file.relative_to(temporary)): hash_of(file) for file in files}
    write_hashes(temporary / HASHES, of=path.name, checkpoint=own, run=record)
    if path.exists():
        _discard(path)
    temporary.replace(path)
    sync(path.parent)


def _discard(path: Path) -> None:
    """Remove a checkpoint so that a kill leaves no half one under its name."""
    unnamed = path.with_name(path.name + ".old.tmp")
    path.replace(unnamed)
    sync(path.parent)
    shutil.rmtree(unnamed)
