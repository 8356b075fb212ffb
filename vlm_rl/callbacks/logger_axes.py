"""Curves in W&B get their named x-axes, and a run is ended with its job: WandbLogger would take a live one for the next."""

from typing import Any

import lightning
from lightning.pytorch.loggers import WandbLogger

EPOCH_METRICS = ("val/*", "test/*", "train/accuracy_in_epoch")


class LoggerAxes(lightning.Callback):
    """Does nothing for other loggers: they take the step that is handed to them."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        for run in self._runs(trainer):
            for axis in ("generation_steps", "gradient_steps", "epoch"):
                run.define_metric(axis)
            run.define_metric("*", step_metric="generation_steps")
            for name in EPOCH_METRICS:
                run.define_metric(name, step_metric="epoch")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        for run in self._runs(trainer):
            run.finish()

    @staticmethod
    def _runs(trainer: lightning.Trainer) -> list[Any]:
        return (
            [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]
            if trainer.is_global_zero
            else []
        )
