"""Ends a run whose own training accuracy no longer rises, where its config has a `bottleneck`. Nothing else of the run is changed."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import lightning

from vlm_rl.callbacks.recorder import Recorder, log
from vlm_rl.evaluation.bottleneck_rule import BottleneckRule
from vlm_rl.module import reinforcement
from vlm_rl.pipeline.step1_data_flow import DataFlow
from vlm_rl.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class EarlyEnd:
    """Where a run ended, and what it did not need; the manifest has it."""

    epoch: int
    of_epochs: int
    generation_steps: int
    saved_generation_steps: int
    saved_seconds: float  # at the mean pace of its steps, evaluations included

    def sentence(self) -> str:
        """For the person who waits."""
        return (
            f"Ended by its bottleneck after epoch {self.epoch} of {self.of_epochs}: training accuracy no longer rises. Saved: "
            f"{self.saved_generation_steps} of {self.generation_steps + self.saved_generation_steps} generation steps, about "
            f"{timedelta(seconds=round(self.saved_seconds))} (hours:minutes:seconds) at the pace so far."
        )


class Bottleneck(lightning.Callback):
    """Decides at the end of an epoch that is evaluated, by accuracies that the recorder pooled over all ranks: all decide alike.

    It stands before the evaluation schedule, which takes in the last evaluation, and before the checkpoint, which holds the accuracies: a
    run that was killed after its last checkpoint decides the same again, without another step.
    """

    def __init__(
        self, *, rule: BottleneckRule, every_epochs: int, recorder: Recorder, data_flow: DataFlow, folder: RunFolder
    ) -> None:
        self._rule, self._every_epochs, self._recorder = rule, every_epochs, recorder
        self._data_flow, self._folder = data_flow, folder
        self._planned_steps = data_flow.num_steps
        self._accuracies: list[float] = []  # of this run's epochs
        self.early_end: EarlyEnd | None = None  # on the first rank, once the run is over

    def state_dict(self) -> dict[str, Any]:
        """The training accuracy of each epoch so far."""
        return {"accuracies": self._accuracies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint; of a run that had ended nothing is left to train."""
        self._accuracies = [*state_dict["accuracies"]]
        self._decide()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        progress = reinforcement(pl_module).progress
        if progress.generation_steps % progress.steps_per_epoch:
            return
        self._accuracies.append(self._recorder.last_line["train/accuracy_in_epoch"])
        if not self._decide():
            return
        trainer.should_stop = True
        line = {
            "event": "bottleneck",
            **progress.axes,
            "bottleneck/best_before": max(self._accuracies[: -self._rule.epochs]),
            "bottleneck/best_of_last": max(self._accuracies[-self._rule.epochs :]),
            "bottleneck/saved_generation_steps": self._planned_steps - progress.generation_steps,
        }
        if trainer.is_global_zero:
            self._folder.append("metrics.jsonl", line)
            log(trainer.loggers, line, step=progress.generation_steps)

    def _decide(self) -> bool:
        """Whether the run ends with the newest of its epochs, as whose last step the data flow then counts."""
        epoch, steps = len(self._accuracies), len(self._accuracies) * self._data_flow.steps_per_epoch
        ends = steps < self._planned_steps and self._rule.end(self._accuracies, every_epochs=self._every_epochs) == epoch
        if ends:
            self._data_flow.ends_after = steps
        return ends

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        progress = reinforcement(pl_module).progress
        if not trainer.is_global_zero or progress.generation_steps != self._data_flow.ends_after:
            return
        steps, per_epoch = progress.generation_steps, progress.steps_per_epoch
        seconds = sum(
            value
            for line in self._folder.lines("cost.jsonl")
            if line["generation_steps"]
            for key, value in line.items()
            if key.startswith("time/")
        )
        self.early_end = EarlyEnd(
            epoch=steps // per_epoch,
            of_epochs=self._planned_steps // per_epoch,
            generation_steps=steps,
            saved_generation_steps=self._planned_steps - steps,
            saved_seconds=seconds / steps * (self._planned_steps - steps),
        )
        print(self.early_end.sentence(), flush=True)

    def in_manifest(self) -> dict[str, Any]:
        """What the manifest of the finished run has of its end."""
        return {} if self.early_end is None else {"bottleneck": asdict(self.early_end)}
