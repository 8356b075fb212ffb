"""Ctrl-C and SIGTERM finish the step, write a checkpoint and print the command that continues; a second Ctrl-C stops at once."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(lightning.Callback):
    """Asks the trainer to stop after the running step."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may listen to signals

        def listen(number: int, _: FrameType | None) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True
            trainer.should_stop = True
            print(
                f"\n{signal.Signals(number).name}: finishing this step, then a checkpoint. Once more stops at once.", flush=True
            )

        self._before = {name: signal.signal(name, listen) for name in SIGNALS}

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)
        self._before = {}
