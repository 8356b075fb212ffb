"""What a person sees while training: step, reward, accuracy, length, remaining time; a short table at the end."""

import time
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vlm_rl.models import parts
from vlm_rl.module import VLMReinforcement, reinforcement
from vlm_rl.run_folder import RunFolder

SECONDS_BETWEEN_LINES = 20.0  # where the output is no terminal


class Display(lightning.Callback):
    """A bar on a terminal, a line now and then elsewhere (log files, sweeps side by side)."""

    def __init__(self, *, folder: RunFolder, label: str, num_steps: int) -> None:
        self._folder, self._label, self._num_steps = folder, label, num_steps
        self._console, self._printed_at = Console(), 0.0
        self._begun, self._begun_at = time.monotonic(), 0
        self._bar = Progress(
            TextColumn(label),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=num_steps, numbers="")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        self._begun, self._begun_at = time.monotonic(), module.progress.generation_steps
        if trainer.is_global_zero:
            trained = parts.trained(module.policy.vlm)
            self._console.print(
                parts.part_table(parts.sizes(module.policy.vlm), rates=module.policy.optimization.rates(trained))
            )
            self._bar.start()
            self._bar.update(self._task, completed=self._begun_at)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        assert module.last_step is not None
        if not trainer.is_global_zero:
            return
        step, numbers = module.progress.generation_steps, self._numbers(module)
        self._bar.update(self._task, completed=step, numbers=numbers)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._printed_at > SECONDS_BETWEEN_LINES or step == self._num_steps):
            self._printed_at = now
            left = (now - self._begun) / max(1, step - self._begun_at) * (self._num_steps - step)
            print(f"{self._label}  step {step}/{self._num_steps}  {numbers}  {left:.0f} s left", flush=True)

    @staticmethod
    def _numbers(module: VLMReinforcement) -> str:
        assert module.last_step is not None
        lengths = [response.num_tokens for response in module.last_step.responses.responses]
        length = f"length {sum(lengths) / len(lengths):.0f}"
        if not module.algorithm.learns_from_own_responses:
            return f"loss {module.last_step.stats.loss:.3f}  {length}"
        scores = module.last_step.scored.scores
        accuracy, reward = scores.terms["accuracy"], scores.total
        return f"reward {sum(reward) / len(reward):.3f}  accuracy {sum(accuracy) / len(accuracy):.3f}  {length}"

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._bar.stop()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._bar.stop()
        evaluations = [line for line in self._folder.lines("metrics.jsonl") if line["event"] == "evaluation"]
        if evaluations:
            self._console.print(summary(evaluations[0], evaluations[-1], title=f"{self._label}: accuracy in %"))
        self._console.print(f"Left in {self._folder.path}", soft_wrap=True)


def summary(first: dict[str, float], last: dict[str, float], *, title: str) -> Table:
    """Accuracy of each split and setting at the first and the last evaluation."""
    table = Table(title=title)
    for column in ("", f"epoch {first['epoch']:g}", f"epoch {last['epoch']:g}"):
        table.add_column(column, justify="left" if not column else "right")
    for key in sorted(key for key in last if key.endswith("/accuracy")):
        values = (f"{100 * line[key]:.1f}" if line.get(key) is not None else "-" for line in (first, last))
        table.add_row(str(Path(key).parent), *values)
    return table
