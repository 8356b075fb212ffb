"""Evaluation before the first step (Vanilla) and after every so many epochs."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from vlm_rl.callbacks.recorder import log
from vlm_rl.evaluation.endpoint import for_pick
from vlm_rl.evaluation.evaluator import Evaluator, metrics
from vlm_rl.memory import peak_bytes
from vlm_rl.module import VLMReinforcement, reinforcement
from vlm_rl.run_folder import RunFolder, write_table


class EvaluationSchedule(lightning.Callback):
    """An evaluation that is on disk, whole, is not made again: draws are fixed, so it would come out the same.

    The untrained model is evaluated once for each seed, in a folder of its own that all arms of a study share.
    """

    def __init__(self, *, evaluator: Evaluator, folder: RunFolder, vanilla: RunFolder) -> None:
        self._evaluator, self._folder, self._vanilla = evaluator, folder, vanilla
        self.best_step: int | None = None  # the generation step that validation picks
        self._best_value = -1.0

    def state_dict(self) -> dict[str, Any]:
        """The pick so far."""
        return {"best_step": self.best_step, "best_value": self._best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.best_step, self._best_value = state_dict["best_step"], for_pick(state_dict["best_value"])

    def is_due(self, module: VLMReinforcement) -> bool:
        """Whether an evaluated epoch has just ended."""
        interval = module.progress.steps_per_epoch * self._evaluator.scheme.every_epochs
        return module.progress.generation_steps % interval == 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if module.progress.generation_steps == 0:
            with self._one_at_a_time(trainer):
                self._evaluate(trainer, module, self._vanilla)

    @contextlib.contextmanager
    def _one_at_a_time(self, trainer: lightning.Trainer) -> Iterator[None]:
        """Arms of a seed that start together must not evaluate the same untrained model twice; a killed one lets go."""
        lock = FileLock(self._vanilla.path / ".evaluating") if trainer.is_global_zero else contextlib.nullcontext()
        with lock:
            trainer.strategy.barrier()
            yield

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = reinforcement(pl_module)
        if self.is_due(module):
            self.consider(self._evaluate(trainer, module, self._folder))

    def consider(self, line: Mapping[str, Any]) -> None:
        """Picks the step of an evaluation if it is better than all before, by the report's rule; none without what picks."""
        value = line.get(self._evaluator.scheme.endpoint.pick)
        if value is not None and for_pick(value) > self._best_value:
            self._best_value, self.best_step = for_pick(value), line["generation_steps"]

    def _evaluate(self, trainer: lightning.Trainer, module: VLMReinforcement, folder: RunFolder) -> dict[str, Any]:
        progress, scheme = module.progress, self._evaluator.scheme
        with module.stopwatch.measure("evaluation"):
            tables = {
                (split, setting.name): self._table(
                    trainer, module, folder.path / evaluation_file(round(progress.epoch), split, setting.name), split, setting
                )
                for split, setting in scheme.cells
            }
        line = {"event": "evaluation", **progress.axes, **metrics(tables, settings=scheme.settings)}
        if trainer.is_global_zero:
            self._folder.append("metrics.jsonl", line)
            cost = {"event": "evaluation", "generation_steps": progress.generation_steps, "memory/peak_bytes": peak_bytes()}
            seconds = module.stopwatch.read()
            self._folder.append("cost.jsonl", cost | {f"time/{name}": value for name, value in seconds.items()})
            log(trainer.loggers, line, step=progress.generation_steps)
        return line

    def _table(self, trainer: lightning.Trainer, module: VLMReinforcement, file: Path, split: str, setting: Any) -> pa.Table:
        if file.exists():
            return pq.read_table(file)
        progress = module.progress
        table = self._evaluator.evaluate(
            module.policy, split=split, setting=setting, epoch=progress.epoch, generation_steps=progress.generation_steps
        )
        if trainer.is_global_zero:
            write_table(file, table)
        trainer.strategy.barrier()
        return table


def evaluation_file(epoch: int, split: str, setting: str) -> Path:
    """`evaluations/epoch-0003/val_pass@8_t1.0.parquet` inside a run's folder."""
    return Path("evaluations") / f"epoch-{epoch:04d}" / f"{split}_{setting}.parquet"
