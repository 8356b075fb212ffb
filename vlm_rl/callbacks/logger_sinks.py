"""What Lightning's loggers get besides numbers: config and x-axes, completions, and alerts, which also go to alerts.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from vlm_rl.callbacks.notifications import notify
from vlm_rl.callbacks.recorder import Recorder, log
from vlm_rl.evaluation.alert_watch import Alert, Watch
from vlm_rl.module import reinforcement
from vlm_rl.pipeline.step4_policy_update import NonFiniteUpdates
from vlm_rl.rollout.engine import EngineMismatch
from vlm_rl.run_folder import RunFolder

EPOCH_METRICS = ("val/*", "test/*", "train/accuracy_in_epoch")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A few completions of one generation step, a row for each; pictures are PIL images."""

    key: str
    generation_steps: int
    epoch: float
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@singledispatch
def show(logger: Logger, sheet: Sheet) -> None:
    """Completions, as a table with pictures where there are such tables."""


@show.register
def _(logger: WandbLogger, sheet: Sheet) -> None:
    import wandb

    rows = [[wandb.Image(cell) if isinstance(cell, Image.Image) else cell for cell in row] for row in sheet.rows]
    table = wandb.Table(columns=list(sheet.columns), data=rows)
    axes = {"generation_steps": sheet.generation_steps, "epoch": sheet.epoch}
    logger.log_metrics({sheet.key: table, **axes}, step=sheet.generation_steps)  # type: ignore[dict-item]


@show.register
def _(logger: TensorBoardLogger, sheet: Sheet) -> None:
    logger.experiment.add_text(sheet.key, as_markdown(sheet), sheet.generation_steps)
    for number, row in enumerate(sheet.rows):
        for cell in row:
            if isinstance(cell, Image.Image):
                pixels = torch.frombuffer(bytearray(cell.tobytes()), dtype=torch.uint8).view(cell.height, cell.width, 3)
                logger.experiment.add_image(f"{sheet.key}/{number}", pixels, sheet.generation_steps, dataformats="HWC")


@singledispatch
def send(logger: Logger, alert: Alert) -> None:
    """An alert, where a logger can bring it to a person's attention."""


@send.register
def _(logger: WandbLogger, alert: Alert) -> None:
    text = f"Generation step {alert.generation_steps}: {alert.message}"
    logger.experiment.alert(title=alert.name, text=text, level="WARN")


def as_markdown(sheet: Sheet) -> str:
    """A list: responses have line breaks and bars, which a Markdown table cannot hold. Text is indented, so nothing in it is markup."""
    parts = []
    for number, row in enumerate(sheet.rows):
        parts.append(f"**{number}**\n")
        for column, cell in zip(sheet.columns, row, strict=True):
            if not isinstance(cell, Image.Image) and cell is not None:
                lines = str(cell).splitlines() or [""]
                parts.append(f"{column}:\n\n" + "\n".join(f"    {line}" for line in lines) + "\n")
    return "\n".join(parts)


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


class Alerts(lightning.Callback):
    """Reads what the recorder has written, so that a resumed run, cut back to its checkpoint, gives the same alerts as a whole one."""

    def __init__(self, *, folder: RunFolder, recorder: Recorder, watch: Watch) -> None:
        self._folder, self._recorder, self._watch = folder, recorder, watch
        self._history: list[dict[str, Any]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._history = [line for line in self._folder.lines("metrics.jsonl") if line["event"] == "train"]
        if trainer.is_global_zero:  # an empty file: alerts were on, and there were none
            self._folder.path.mkdir(parents=True, exist_ok=True)
            (self._folder.path / "alerts.jsonl").touch()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        if trainer.is_global_zero:
            self._history.append(self._recorder.last_line)
            for alert in self._watch.alerts(self._history, first=len(self._history) - 1):
                self._send(alert, trainer)

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        """An alert where the run stops itself. That step is not finished, so a resumed run drops the alert."""
        if trainer.is_global_zero and isinstance(exception, EngineMismatch | NonFiniteUpdates):
            step = reinforcement(pl_module).progress.generation_steps + 1
            self._send(Alert(generation_steps=step, name="run_stopped", message=str(exception)), trainer)

    def _send(self, alert: Alert, trainer: lightning.Trainer) -> None:
        line = {"generation_steps": alert.generation_steps, "alert": alert.name, "message": alert.message}
        self._folder.append("alerts.jsonl", line)
        print(f"ALERT at generation step {alert.generation_steps}, {alert.name}: {alert.message}", flush=True)
        for logger in trainer.loggers:
            send(logger, alert)
        run = "/".join(self._folder.path.absolute().parts[-3:])
        notify(f"{run}: {alert.name}", body=f"Generation step {alert.generation_steps}: {alert.message}")
