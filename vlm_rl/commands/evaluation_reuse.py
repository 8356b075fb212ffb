"""Stored answers that an evaluation may reuse: same model, same rows, same judge. They are written in parts while it runs."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vlm_rl.checksums import hash_of
from vlm_rl.commands.identity import differences, stored_manifest
from vlm_rl.durable_files import write_table
from vlm_rl.evaluation.evaluator import Answer
from vlm_rl.models.weights_identity import hash_of_all
from vlm_rl.rewards.judge import JUDGE_VERSION
from vlm_rl.run_folder import RunFolder

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt")  # weights, configs, tokenizer, chat template
SECONDS_BETWEEN_LINES = 20.0  # where the output is no terminal


def checkpoint_files(weights: Path | None) -> dict[str, str]:
    """Name -> hash of all bytes of each file of a trained checkpoint; none for a model that was not trained here."""
    if weights is None:
        return {}
    return {f"checkpoint/{file.name}": hash_of_all(file) for pattern in MODEL_FILES for file in sorted(weights.glob(pattern))}


def check_answers(folder: RunFolder, *, manifest: dict[str, Any], splits: Sequence[str]) -> None:
    """Raise ValueError where a folder holds answers of another model, other rows or another judge; `manifest` is the new one."""
    files = stored_answers(folder)
    stored = stored_manifest(folder) or {}
    reasons = [*differences(stored, manifest, splits=splits), *_other_model(stored, manifest), *_other_judges(files)]
    if files and reasons:
        raise ValueError(
            f"{folder.path} holds answers that do not belong to this evaluation: {'; '.join(reasons)}. "
            "Move or remove that folder, and the same command evaluates anew."
        )


def stored_answers(folder: RunFolder) -> list[Path]:
    """The files of whole evaluations and of parts."""
    return sorted(folder.path.rglob("*.parquet"))


def _other_model(before: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    """Of the trained checkpoint; an older version recorded the base model in the same place, by all bytes."""
    known, now, base = before.get("model_files", {}), manifest["model_files"], manifest["weights"]["files"]
    of_checkpoint = {name for name in known if not name.startswith("model/")} | now.keys()
    of_base = {} if "weights" in before else {name.removeprefix("model/"): known[name] for name in known.keys() - of_checkpoint}
    changed = sorted(name for name in of_checkpoint if known.get(name) != now.get(name))
    changed += sorted(name for name in of_base if of_base[name] != base.get(name, {"all": None}).get("all", of_base[name]))
    if changed:
        yield f"the model has changed since ({', '.join(changed)})"
    if unread := sorted(name for name in of_base if name in base and "all" not in base[name]):
        yield f"an older version of vlm-rl recorded all bytes of {', '.join(unread)}: identity.weights=all compares them"


def _other_judges(files: Sequence[Path]) -> Iterator[str]:
    versions = {version for file in files for version in _versions(file)}
    if others := sorted(str(version) for version in versions - {JUDGE_VERSION}):
        yield (
            f"they were judged by {', '.join(others)}, and this is {JUDGE_VERSION} "
            "(report.py report.judge=current judges stored answers again)"
        )


def _versions(file: Path) -> list[str]:
    """None of a damaged file: its answers are not taken, but made again."""
    try:
        found: list[str] = pq.read_table(file, columns=["judge_version"])[0].unique().to_pylist()
        return found
    except (pa.ArrowException, OSError):
        return []


class Parts:
    """A `Keep` of the evaluator: one file for each batch of rows, named by its content, so that a damaged one is answered again.

    It is read back even if just written: an evaluation that was killed and went on is made of the same bytes as one that was not.
    """

    def __init__(self, *, folder: Path, counter: "Counted") -> None:
        self._folder, self._counter = folder, counter

    def _known(self, place: str) -> list[Path]:
        return [file for file in self._folder.glob(f"{place}.*.parquet") if file.name == _named(place, file)]

    def knows(self, indices: Sequence[int]) -> bool:
        """Whether an earlier attempt answered these rows."""
        return bool(self._known(_place(indices)))

    def __call__(self, indices: Sequence[int], answer: Answer) -> pa.Table:
        """The records of these rows, answered now or by an earlier attempt."""
        place = _place(indices)
        known = self._known(place)
        if not known:
            unnamed = self._folder / f"{place}.parquet"
            write_table(unnamed, answer())
            self._counter.count(len(indices), is_known=False)
            return pq.read_table(unnamed.replace(self._folder / _named(place, unnamed)))
        self._counter.count(len(indices), is_known=True)
        return pq.read_table(known[0])


def _place(indices: Sequence[int]) -> str:
    return f"rows-{indices[0]:06d}"


def _named(place: str, file: Path) -> str:
    return f"{place}.{hash_of(file).sha256[:16]}.parquet"


class Counted:
    """Questions of one split and setting that are done, and those that were answered now: they say how fast it goes."""

    def __init__(self, label: str, *, total: int, console: Console, bar: Progress) -> None:
        self._label, self._total, self._console, self._bar = label, total, console, bar
        self._task, self._done, self._anew = bar.add_task(label, total=total), 0, 0
        self._begun = self._spoken = time.monotonic()

    def count(self, rows: int, *, is_known: bool) -> None:
        """Count rows."""
        self._done, self._anew = self._done + rows, self._anew + rows * (not is_known)
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._spoken > SECONDS_BETWEEN_LINES or self._done == self._total):
            self._spoken = now
            left = (now - self._begun) / max(1, self._anew) * (self._total - self._done)
            self._console.print(f"{self._label}: {self._done}/{self._total} questions, {left:.0f} s left", soft_wrap=True)


class RowCounter:
    """Progress over rows and the remaining time: bars on a terminal, else a line every 20 seconds."""

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

    def __enter__(self) -> "RowCounter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, label: str, *, total: int) -> Counted:
        """Start a count for a split and setting."""
        return Counted(label, total=total, console=self._console, bar=self._bar)
