"""Evaluation before the first step (Vanilla) and after every so many epochs."""

from collections.abc import Iterator, Mapping
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

    The vanilla model is evaluated once for each seed, in a folder of its own that all arms of a study share.
    """

    def __init__(self, *, evaluator: Evaluator, folder: RunFolder, vanilla: RunFolder) -> None:
        self._evaluator, self._folder, self._vanilla = evaluator, folder, vanilla
        self.best_step: int | None = None  # the generation step that validation selects
        self._best_value = -1.0

    def state_dict(self) -> dict[str, Any]:
        """The best step so far."""
        return {"best_step": self.best_step, "best_value": self._best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.best_step, self._best_value = state_dict["best_step"], for_selection(state_dict["best_value"])

    def is_due(self, progress: Progress) -> bool:
        """Whether an evaluated epoch has just ended."""
        return progress.generation_steps % (progress.steps_per_epoch * self._evaluator.scheme.every_epochs) == 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if module.progress.generation_steps == 0:
            self._log(trainer, module, self.evaluate_vanilla(module))

    def evaluate_vanilla(self, module: VLMReinforcement) -> Cells:
        """Evaluate the vanilla model, or read what is whole of it. The module has no trained weights yet. Every rank must call this."""
        with ranks.locked(self._vanilla.path / ".evaluating"):  # by arms of a seed that start together; a killed one lets go
            if ranks.is_first():
                remove_leftovers(self._vanilla.path, is_shared=True)  # other arms write its manifest
                self._vanilla.recall()
            tables = self._tables(module, self._vanilla)
            manifest = self._vanilla.manifest if ranks.is_first() else None
            if manifest is not None and manifest["status"] != "finished":
                self._vanilla.write_manifest(manifest | {"status": "finished"})
        return tables

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        if self.is_due(module.progress):
            self.consider(self._log(trainer, module, self._tables(module, self._folder)))

    def consider(self, line: Mapping[str, Any]) -> None:
        """Select the step of an evaluation if it is better than all before, by the report's rule; none where the metric is missing."""
        value = line.get(self._evaluator.scheme.endpoint.selection_metric)
        if value is not None and for_selection(value) > self._best_value:
            self._best_value, self.best_step = for_selection(value), line["generation_steps"]

    def _tables(self, module: VLMReinforcement, folder: RunFolder) -> Cells:
        with module.stopwatch.measure("evaluation"):
            return {
                cell: table for split in self._evaluator.scheme.splits for cell, table in self._of_split(module, folder, split)
            }

    def _log(self, trainer: lightning.Trainer, module: VLMReinforcement, tables: Cells) -> dict[str, Any]:
        progress = module.progress
        line = {"event": "evaluation", **progress.axes, **metrics(tables, settings=self._evaluator.scheme.settings)}
        if trainer.is_global_zero:
            self._folder.append("metrics.jsonl", line)
            peak = peak_bytes(module.policy.device)
            cost = {"event": "evaluation", "generation_steps": progress.generation_steps, "memory/peak_bytes": peak}
            seconds = module.stopwatch.read()
            self._folder.append("cost.jsonl", cost | {f"time/{name}": value for name, value in seconds.items()})
            log(trainer.loggers, line, step=progress.generation_steps)
        return line

    def _of_split(self, module: VLMReinforcement, folder: RunFolder, split: str) -> Iterator[tuple[tuple[str, str], pa.Table]]:
        """On every rank. The first one decides which files are whole: on a network file system other ranks may not see them yet."""
        progress = module.progress
        files = {s.name: str(evaluation_file(round(progress.epoch), split, s.name)) for s in self._evaluator.scheme.settings}
        tables = {
            name: ranks.from_first(folder.whole_table(file) if ranks.is_first() else None) for name, file in files.items()
        }
        missing = {name: answered_anew for name, table in tables.items() if table is None}
        if missing:
            tables |= self._evaluator.evaluate_split(
                module.policy,
                split=split,
                epoch=progress.epoch,
                generation_steps=progress.generation_steps,
                keeps=missing,
            )
        for name in missing if ranks.is_first() else ():
            folder.write_table(files[name], tables[name])
            folder.remember()
        return (((split, name), table) for name, table in tables.items())


def evaluation_file(epoch: int, split: str, setting: str) -> Path:
    """`evaluations/epoch-0003/val_pass@8_t1.0.parquet` inside a run's folder."""
    return Path("evaluations") / f"epoch-{epoch:04d}" / f"{split}_{setting}.parquet"
