"""Within one split and setting: what is answered is kept in parts, and said as it goes on."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vlm_rl.evaluation.evaluator import Answer
from vlm_rl.run_folder import write_table

SECONDS_BETWEEN_LINES = 20.0  # where the output is no terminal


class Parts:
    """A `Keep` of the evaluator: one file for each batch of rows, whole or absent. It is read back even if just written, so
    that an evaluation which was killed and went on is put together from the very same bytes as one that was not.
    """

    def __init__(self, *, folder: Path, counter: "RowCounter") -> None:
        self._folder, self._counter = folder, counter

    def __call__(self, indices: Sequence[int], answer: Answer) -> pa.Table:
        """The records of these rows, answered now or by an earlier attempt."""
        file = self._folder / f"rows-{indices[0]:06d}.parquet"
        is_known = file.exists()
        if not is_known:
            write_table(file, answer())
        self._counter.count(len(indices), is_known=is_known)
        return pq.read_table(file)

    def remove(self) -> None:
        """After the whole is on the disk."""
        shutil.rmtree(self._folder, ignore_errors=True)


class RowCounter:
    """Rows answered of those asked, and the time that is left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, *, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("questions"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._label, self._task, self._total, self._done, self._anew = "", self._bar.add_task("", visible=False), 0, 0, 0
        self._begun = self._spoken = time.monotonic()

    def __enter__(self) -> "RowCounter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, label: str, *, total: int) -> None:
        """Another split and setting."""
        self._label, self._total, self._done, self._anew = label, total, 0, 0
        self._task, self._begun = self._bar.add_task(label, total=total), time.monotonic()

    def count(self, rows: int, *, is_known: bool) -> None:
        """So many more; the speed is that of rows answered now."""
        self._done, self._anew = self._done + rows, self._anew + rows * (not is_known)
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._spoken > SECONDS_BETWEEN_LINES or self._done == self._total):
            self._spoken = now
            left = (now - self._begun) / max(1, self._anew) * (self._total - self._done)
            self._console.print(f"{self._label}: {self._done}/{self._total} questions, {left:.0f} s left", soft_wrap=True)
