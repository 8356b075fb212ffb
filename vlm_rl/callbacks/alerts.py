"""What should not happen in a healthy run is said when it happens: in `alerts.jsonl`, on the terminal and by W&B."""

from typing import Any

import lightning

from vlm_rl.callbacks.logger_sinks import send
from vlm_rl.callbacks.recorder import Recorder
from vlm_rl.evaluation.alert_watch import Alert, Watch
from vlm_rl.module import reinforcement
from vlm_rl.pipeline.batch_filling import NothingToLearn
from vlm_rl.pipeline.step3_trajectory_generation import EngineMismatch
from vlm_rl.pipeline.step4_policy_update import NonFiniteUpdates
from vlm_rl.run_folder import RunFolder


class Alerts(lightning.Callback):
    """Goes by what the recorder has written, so that a resumed run, cut back to its checkpoint, tells the same as a whole one."""

    def __init__(self, *, folder: RunFolder, recorder: Recorder, watch: Watch) -> None:
        self._folder, self._recorder, self._watch = folder, recorder, watch
        self._history: list[dict[str, Any]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._history = [line for line in self._folder.lines("metrics.jsonl") if line["event"] == "train"]
        if trainer.is_global_zero:  # an empty file says that somebody watched and saw nothing
            self._folder.path.mkdir(parents=True, exist_ok=True)
            (self._folder.path / "alerts.jsonl").touch()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero:
            self._history.append(self._recorder.last_line)
            for alert in self._watch.alerts(self._history, first=len(self._history) - 1):
                self._tell(alert, trainer)

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        """A run that stops itself says so; the step that it stopped in is not finished, so that a resumed run forgets it."""
        if trainer.is_global_zero and isinstance(exception, EngineMismatch | NonFiniteUpdates | NothingToLearn):
            step = reinforcement(pl_module).progress.generation_steps + 1
            self._tell(Alert(generation_steps=step, name="run_stopped", message=str(exception)), trainer)

    def _tell(self, alert: Alert, trainer: lightning.Trainer) -> None:
        line = {"generation_steps": alert.generation_steps, "alert": alert.name, "message": alert.message}
        self._folder.append("alerts.jsonl", line)
        print(f"ALERT at generation step {alert.generation_steps}, {alert.name}: {alert.message}", flush=True)
        for logger in trainer.loggers:
            send(logger, alert)
