"""Evaluation before the first step (Vanilla) and after every so many epochs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import pyarrow as pa

from vlm_rl import ranks
from vlm_rl.callbacks.recorder import log
from vlm_rl.device import peak_bytes
from vlm_rl.durable_files import remove_leftovers
from vlm_rl.evaluation.endpoint import for_selection
from vlm_rl.evaluation.evaluator import Evaluator, answered_anew, metrics
from vlm_rl.module import Progress, VLMReinforcement, reinforcement
from vlm_rl.run_folder import RunFolder

Cells = Mapping[tuple[str, str], pa.Table]  # (split, setting name) -> sample records


class EvaluationSchedule(lightning.Callback):
    """An evaluation that is complete on disk is not repeated: its draws are fixed, so the result would be the same.

    The vanilla model is evaluated once for each seed, in a folder of its own that all arms of a study share. `in_background`: servers
    evaluate the weights of an epoch's end while the next epochs are trained. The result is taken in where the next evaluation is due, or
    training ends: at a step that does not depend on time.
    """

    def __init__(self, *, evaluator: Evaluator, folder: RunFolder, vanilla: RunFolder, in_background: bool = False) -> None:
        self._evaluator, self._folder, self._vanilla, self._in_background = evaluator, folder, vanilla, in_background
        self.best_step: int | None = None  # the generation step that validation selects
        self._best_value = -1.0
        self.pending_steps: list[int] = []  # whose evaluation is due or has begun, and is not taken in
        self._pending: _Pending | None = None
        self.taken_in: Progress | None = None  # of the evaluation whose result came in at this step, if one did

    def state_dict(self) -> dict[str, Any]:
        """The best step so far, and those that are being evaluated."""
        return {"best_step": self.best_step, "best_value": self._best_value, "pending_steps": self.pending_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.best_step, self._best_value = state_dict["best_step"], for_selection(state_dict["best_value"])
        self.pending_steps = [*state_dict.get("pending_steps", [])]

    def is_due(self, progress: Progress) -> bool:
        """Whether an evaluated epoch has just ended."""
        return progress.generation_steps % (progress.steps_per_epoch * self._evaluator.scheme.every_epochs) == 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if module.progress.generation_steps == 0:
            self._log(trainer, module.progress, self.evaluate_vanilla(module), module=module)
        for step in [*self.pending_steps]:  # the run was stopped before they were taken in
            self._take_in(trainer, module)
            self._begin_again(trainer, module, step)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Of a run that stopped while its last step was evaluated nothing is left to train, and nothing above was called."""
        module = reinforcement(pl_module)
        if self.pending_steps and module.progress.generation_steps == module.data_flow.num_steps:
            self.on_train_start(trainer, pl_module)
            self._take_in(trainer, module)

    def evaluate_vanilla(self, module: VLMReinforcement) -> Cells:
        """Evaluate the vanilla model, or read what is whole of it. The module has no trained weights yet. Every rank must call this."""
        with ranks.locked(self._vanilla.path / ".evaluating"):  # by arms of a seed that start together; a killed one lets go
            if ranks.is_first():
                remove_leftovers(self._vanilla.path, is_shared=True)  # other arms write its manifest
                self._vanilla.recall()
            with module.stopwatch.measure("evaluation"):
                tables = self._begin(module, module.progress, self._vanilla, in_background=False).tables()
            manifest = self._vanilla.manifest if ranks.is_first() else None
            if manifest is not None and manifest["status"] != "finished":
                self._vanilla.write_manifest(manifest | {"status": "finished"})
        return tables

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        progress = module.progress
        self.taken_in = None
        if not self.is_due(progress):
            return
        self.pending_steps.append(progress.generation_steps)
        self._take_in(trainer, module)
        self._pending = self._begin(module, replace(progress), self._folder, in_background=self._in_background)
        if not self._in_background or progress.generation_steps == module.data_flow.num_steps:
            self._take_in(trainer, module)

    def _begin_again(self, trainer: lightning.Trainer, module: VLMReinforcement, step: int) -> None:
        """With the weights of that step, which its checkpoint holds."""
        progress = replace(module.progress, generation_steps=step, gradient_steps=step * module.algorithm.num_updates)
        now, version = module.policy.trained_weights(), module.policy.version
        if step != version:
            module.policy.load(self._folder.path / "checkpoints" / f"step-{step:06d}")
        module.policy.version = step
        self._pending = self._begin(module, progress, self._folder, in_background=self._in_background)
        if not self._in_background:
            self._take_in(trainer, module)
        module.policy.take(now, version=version)

    def _take_in(self, trainer: lightning.Trainer, module: VLMReinforcement) -> None:
        """Wait for the evaluation that has begun, if one has; its line speaks of the step that it began after."""
        if self._pending is None:
            return
        with module.stopwatch.measure("evaluation"):
            tables = self._pending.tables()
        self.consider(self._log(trainer, self._pending.progress, tables, module=module))
        self.taken_in, self._pending = self._pending.progress, None
        self.pending_steps.remove(self.taken_in.generation_steps)

    def consider(self, line: Mapping[str, Any]) -> None:
        """Select the step of an evaluation if it is better than all before, by the report's rule; none where the metric is missing."""
        value = line.get(self._evaluator.scheme.endpoint.selection_metric)
        if value is not None and for_selection(value) > self._best_value:
            self._best_value, self.best_step = for_selection(value), line["generation_steps"]

    def _log(
        self, trainer: lightning.Trainer, progress: Progress, tables: Cells, *, module: VLMReinforcement
    ) -> dict[str, Any]:
        line = {"event": "evaluation", **progress.axes, **metrics(tables, settings=self._evaluator.scheme.settings)}
        if trainer.is_global_zero:
            self._folder.append("metrics.jsonl", line)
            peak = peak_bytes(module.policy.device)
            cost = {"event": "evaluation", "generation_steps": progress.generation_steps, "memory/peak_bytes": peak}
            seconds = module.stopwatch.read()
            self._folder.append("cost.jsonl", cost | {f"time/{name}": value for name, value in seconds.items()})
            log(trainer.loggers, line, step=progress.generation_steps)
        return line

    def _begin(self, module: VLMReinforcement, progress: Progress, folder: RunFolder, *, in_background: bool) -> "_Pending":
        """Begin what is not whole on the disk. The first rank decides which files are whole: on a network file system other ranks may
        not see them yet. Every rank must call this."""
        known: dict[tuple[str, str], pa.Table | None] = {}
        for split, setting in self._evaluator.scheme.cells:
            file = str(evaluation_file(round(progress.epoch), split, setting.name))
            known[split, setting.name] = ranks.from_first(folder.whole_table(file) if ranks.is_first() else None)
        missing = {
            split: {name: answered_anew for (of, name), table in known.items() if of == split and table is None}
            for split in self._evaluator.scheme.splits
        }
        made = self._evaluator.evaluate_splits(
            module.policy,
            epoch=progress.epoch,
            generation_steps=progress.generation_steps,
            keeps={split: keeps for split, keeps in missing.items() if keeps},
            in_background=in_background,
        )
        return _Pending(progress=progress, known=known, made=made, folder=folder)


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """An evaluation that has begun."""

    progress: Progress  # when it began
    known: Mapping[tuple[str, str], pa.Table | None]  # what was on the disk already; in the order of the scheme
    made: Iterator[tuple[str, dict[str, pa.Table]]]
    folder: RunFolder

    def tables(self) -> Cells:
        """Wait for it. What is made is written, split by split."""
        tables = dict(self.known)
        for split, of_split in self.made:
            for name, table in of_split.items():
                tables[split, name] = table
                if ranks.is_first():
                    self.folder.write_table(str(evaluation_file(round(self.progress.epoch), split, name)), table)
                    self.folder.remember()
        return {cell: table for cell, table in tables.items() if table is not None}


def evaluation_file(epoch: int, split: str, setting: str) -> Path:
    """`evaluations/epoch-0003/val_pass@8_t1.0.parquet` inside a run's folder."""
    return Path("evaluations") / f"epoch-{epoch:04d}" / f"{split}_{setting}.parquet"
