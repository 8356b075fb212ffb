"""What a run leaves on disk: one folder, files that are whole or absent, lines that can be cut back to a checkpoint."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

OF_LOGGERS = ("wandb",)  # folders that only a logger writes and nothing reads; W&B's has links to its cache
LINE_FILES = ("metrics.jsonl", "cost.jsonl", "alerts.jsonl")


class RunFolder:
    """`outputs/<study>/<variant>/seed-<N>/`."""

    def __init__(self, *, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the run is, or None in a fresh folder. Raises ValueError where it cannot be read."""
        file = self.path / "manifest.json"
        if not file.exists():
            return None
        check_link(file, inside=self.path)
        try:
            manifest = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no JSON ({error}). Ask for a whole copy of that run, or remove its folder.") from None
        if not isinstance(manifest, dict):
            raise ValueError(f"{file} is no manifest of a run. Ask for a whole copy of that run, or remove its folder.")
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces the manifest."""
        text = json.dumps(manifest, indent=1, sort_keys=True, default=str)
        write_whole(self.path / "manifest.json", lambda file: file.write_text(text))

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """One line of metrics, cost or alerts; what is not a number becomes null."""
        assert name in LINE_FILES
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file; one cut off by a crash is left out."""
        file = self.path / name
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    yield json.loads(line)

    def cut_back(self, generation_steps: int) -> None:
        """Remove what came after a checkpoint: its steps will be repeated. Complete evaluations stay: they would be the same."""
        for name in LINE_FILES:
            kept = [line for line in self.lines(name) if line["generation_steps"] <= generation_steps]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            if (self.path / name).exists():
                write_whole(self.path / name, lambda file, text=text: file.write_text(text))  # type: ignore[misc]
        for file in (self.path / "completions").glob("step-*.parquet"):
            if int(file.stem.removeprefix("step-")) > generation_steps:
                file.unlink()
        for leftover in self.path.rglob(".*.tmp"):  # of a write that was killed
            leftover.unlink()

    def clear(self) -> None:
        """Remove everything but the manifest: no checkpoint was ever written."""
        for name in LINE_FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in ("completions", "evaluations", "checkpoints"):
            shutil.rmtree(self.path / name, ignore_errors=True)


def check_links(folder: Path) -> None:
    """Raises ValueError where a run folder holds a link that leads out of it: nothing is read or written there."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            check_link(Path(place, name), inside=folder)
        folders[:] = [name for name in folders if name not in OF_LOGGERS]


def check_link(path: Path, *, inside: Path) -> None:
    """The same for one file or folder in a folder; links above that folder are its owner's."""
    if path.is_symlink() and not path.resolve().is_relative_to(inside.resolve()):
        raise ValueError(
            f"{path} is a link that leads out of the run's folder, to {os.readlink(path)}. Nothing there is read or written. "
            "If it is yours, put what it leads to in its place; else ask for a copy of that run without links."
        )


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside the path, syncs and renames: a reader sees the old file, the new one, or none, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table) -> None:
    """A Parquet file, zstd."""
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
