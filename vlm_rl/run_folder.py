"""What a run leaves on disk: one folder, files that are whole or absent and known by their hashes, lines that can be cut back."""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm_rl import durable_files
from vlm_rl.checksums import HASHES, Hashes, damages, hash_of, is_sealed, read_hashes, sealed, write_hashes
from vlm_rl.durable_files import make_folder, remove_leftovers, sync, write_whole

OF_LOGGERS = ("wandb",)  # folders that only a logger writes and nothing reads; W&B's has links to its cache
LINE_FILES = ("metrics.jsonl", "cost.jsonl", "alerts.jsonl")
RECORDS = ("completions", "evaluations", "checkpoints")  # folders
COMPLETIONS = re.compile(r"completions/step-\d{6,}\.parquet")
TABLES, FINISHED = "tables that were written", "a finished run"  # what `hashes.json` belongs to
_WHOLE_COPY = "Ask for a whole copy of that run, or remove its folder."
TO_OUTPUTS = 4  # folders from that of a run to `outputs`, both included


class RunFolder:
    """`outputs/<study>/<variant>/seed-<N>/`.

    `hashes` holds what was written here, or was found to be whole: Parquet files by their path in the folder.
    """

    def __init__(self, *, path: Path | str) -> None:
        self.path = Path(path)
        self.hashes: Hashes = {}

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the run is, or None in a fresh folder. Raises ValueError where it cannot be read."""
        read = self._read_manifest()
        return read if read is None else {key: value for key, value in read.items() if key != "sha256"}

    def changed_manifest(self) -> str | None:
        """A sentence where somebody else changed the manifest since vlm-rl wrote it; None where nothing speaks for that."""
        read = self._read_manifest()
        if read is None or "sha256" not in read or is_sealed(read):
            return None
        return (
            f"{self.path / 'manifest.json'} was changed since vlm-rl wrote it: its `sha256` is not that of the rest. {_WHOLE_COPY} "
            "If the change is yours, delete the line `sha256` there, too."
        )

    def _read_manifest(self) -> dict[str, Any] | None:
        file = self.path / "manifest.json"
        if not file.exists():
            return None
        check_link(file, inside=self.path)
        try:
            manifest = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no JSON ({error}). {_WHOLE_COPY}") from None
        if not isinstance(manifest, dict):
            raise ValueError(f"{file} is no manifest of a run. {_WHOLE_COPY}")
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces the manifest. The first one also brings the folders that lead to it to the disk."""
        text = json.dumps(sealed(manifest), indent=1, sort_keys=True, default=str)
        file = self.path / "manifest.json"
        is_first = not file.exists()
        write_whole(file, lambda place: place.write_text(text, encoding="utf-8"))
        for folder in self.path.absolute().parents[:TO_OUTPUTS] if is_first else ():
            sync(folder)

    def has_records(self) -> bool:
        """Whether anything was trained or evaluated here."""
        return any((self.path / name).exists() for name in (*LINE_FILES, *RECORDS))

    def write_table(self, name: str, table: pa.Table) -> None:
        """A Parquet file, whole, whose hash is kept."""
        durable_files.write_table(self.path / name, table)
        self.hashes[name] = hash_of(self.path / name)

    def whole_table(self, name: str) -> pa.Table | None:
        """What `write_table` wrote here, now or in an earlier process; None where it did not, or where the file is not the same."""
        if not (self.path / name).exists():
            return None
        if name not in self.hashes:
            print(f"{self.path / name} was not finished, or its hash is lost: it is made again.", flush=True)
            return None
        for _, why in damages(self.path, {name: self.hashes[name]}):
            print(f"{why}. It is made again.", flush=True)
            return None
        return pq.read_table(self.path / name)

    def recall(self) -> None:
        """Take the hashes that an earlier process wrote by `remember`; none where they cannot be trusted."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = self.remembered(TABLES, FINISHED)
            self.hashes |= {name: one for name, one in found.items() if name.endswith(".parquet")}

    def remember(self, record: Hashes | None = None, *, of: str = TABLES) -> None:
        """Write the hashes of all tables, or a whole `record`, so that another process can verify them."""
        write_hashes(self.path / HASHES, of=of, run=self.hashes if record is None else record)

    def remembered(self, *of: str) -> Hashes:
        """What `remember` wrote for one of `of`. Raise FileNotFoundError or ValueError where it cannot be trusted."""
        return read_hashes(self.path / HASHES, "run", of=of)

    def record(self) -> Hashes:
        """All tables, and what the line files hold now. These are on the disk when it returns."""
        lines = {name: self.path / name for name in LINE_FILES if (self.path / name).exists()}
        for file in lines.values():
            sync(file)
        sync(self.path)
        return self.hashes | {name: hash_of(file) for name, file in lines.items()}

    def damages(self, record: Hashes) -> list[str]:
        """What is not as the record says, a sentence for each file; lines may have been added since."""
        return [why for _, why in damages(self.path, record, growing=LINE_FILES)]

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """One line of metrics, cost or alerts; what is not a number becomes null."""
        assert name in LINE_FILES
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        make_folder(self.path)
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file, each with its `generation_steps`; what a crash cut off, or is none, is left out."""
        file = self.path / name
        if file.exists():
            for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    if isinstance(line := json.loads(text), dict) and isinstance(line.get("generation_steps"), int):
                        yield line

    def cut_back(self, record: Hashes, *, generation_steps: int) -> None:
        """Remove what came after a record: its steps will be repeated. Later evaluations stay: they would be the same."""
        for name in LINE_FILES:
            file = self.path / name
            if not file.exists():
                continue
            if name in record and not self.damages({name: record[name]}):
                os.truncate(file, record[name].num_bytes)
                sync(file)
            else:
                kept = [line for line in self.lines(name) if line["generation_steps"] <= generation_steps]
                text = "".join(json.dumps(line) + "\n" for line in kept)
                write_whole(file, lambda place, text=text: place.write_text(text))  # type: ignore[misc]
        for file in (self.path / "completions").glob("step-*.parquet"):
            if COMPLETIONS.fullmatch(name := f"completions/{file.name}") and name not in record:
                file.unlink()
        remove_leftovers(self.path, is_shared=False)
        for unfinished in (self.path / "checkpoints").glob("*.tmp"):
            shutil.rmtree(unfinished)
        self.recall()
        self.hashes = {name: one for name, one in self.hashes.items() if name.startswith("evaluations/")} | {
            name: one for name, one in record.items() if name.endswith(".parquet")
        }

    def clear(self) -> None:
        """Remove everything but the manifest: no checkpoint was ever written."""
        for name in LINE_FILES:
            (self.path / name).unlink(missing_ok=True)
        (self.path / HASHES).unlink(missing_ok=True)
        for name in RECORDS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        remove_leftovers(self.path, is_shared=False)


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
