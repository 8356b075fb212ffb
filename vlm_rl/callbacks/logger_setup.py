"""What Lightning's loggers are told at the beginning and at the end: the config, W&B's named x-axes, what a CSV file has lost."""

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from vlm_rl.callbacks.recorder import log
from vlm_rl.module import reinforcement
from vlm_rl.run_folder import RunFolder

EPOCH_METRICS = ("val/*", "test/*", "train/accuracy_in_epoch")


class LoggerSetup(lightning.Callback):
    """First among those that log. A run is ended with its job: WandbLogger would take a live one for the next."""

    def __init__(self, *, folder: RunFolder, config: Mapping[str, Any]) -> None:
        self._folder, self._config = folder, config

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(dict(self._config))
        for run in wandb_runs(trainer):
            name_axes(run)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A resumed CSVLogger begins its file anew: it gets the lines up to the checkpoint again."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
        if loggers and reinforcement(pl_module).progress.generation_steps:
            cost = {line["generation_steps"]: line for line in self._folder.lines("cost.jsonl") if line["event"] == "train"}
            for line in self._folder.lines("metrics.jsonl"):
                step = line["generation_steps"]
                log(loggers, line | cost.get(step, {}) if line["event"] == "train" else line, step=step)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        for run in wandb_runs(trainer):
            run.finish()


def name_axes(run: Any) -> None:
    """Tells a live W&B run which quantity each curve is drawn over."""
    for axis in ("generation_steps", "gradient_steps", "epoch"):
        run.define_metric(axis)
    run.define_metric("*", step_metric="generation_steps")
    for name in EPOCH_METRICS:
        run.define_metric(name, step_metric="epoch")


def log_once(
    logger: Logger, metrics: Mapping[str, float], *, config: Mapping[str, Any], generation_steps: int, epoch: float
) -> None:
    """One evaluation as a run of its own, begun and ended here."""
    logger.log_hyperparams(dict(config))
    if isinstance(logger, WandbLogger):
        name_axes(logger.experiment)
    logger.log_metrics({**metrics, "generation_steps": generation_steps, "epoch": epoch}, step=generation_steps)
    logger.save()
    logger.finalize("success")
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()


def wandb_runs(trainer: lightning.Trainer) -> list[Any]:
    """The live W&B runs, on the first rank; none without a WandbLogger."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return [logger.experiment for logger in loggers] if trainer.is_global_zero else []
