"""Ctrl-C and SIGTERM finish the step, write a checkpoint and print the command that continues; a second Ctrl-C stops at once."""

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import lightning

from vlm_rl import ranks
from vlm_rl.module import reinforcement

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(lightning.Callback):
    """Handles signals in place of Lightning, whose handlers communicate with other ranks inside a signal (commands/placement.py).

    `Agreement` stops all ranks, whichever of them got the signal.
    """

    def __init__(self, *, more: Sequence[signal.Signals] = ()) -> None:
        self._signals = (*SIGNALS, *more)
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals

        def handle(number: int, frame: FrameType | None) -> None:
            if self.requested and number == signal.SIGINT:
                self._before[signal.SIGINT](number, frame)  # whoever listened before: the command ends at once
            self.requested = reinforcement(pl_module).stop_is_asked = True
            more = " Once more stops at once." if number == signal.SIGINT else ""
            print(f"\n{signal.Signals(number).name}: finishing this step, then a checkpoint.{more}", flush=True)

        self._before = {name: signal.signal(name, handle) for name in self._signals}

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)
        self._before = {}


class Agreement(lightning.Callback):
    """The last callback of each step: a signal that one rank got stops every rank, before any of them begins the next step."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._agree(trainer)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        self._agree(trainer)

    def _agree(self, trainer: lightning.Trainer) -> None:
        if not ranks.any_of(self._interruption.requested):
            return
        if not self._interruption.requested:
            print("\nA signal reached another rank: all of them stop after this step, with a checkpoint.", flush=True)
        self._interruption.requested = trainer.should_stop = True
