"""The files of a run against the SHA-256 that were written with them: `hashes.json` of the run, and those of its checkpoints.

Completions are left out: no verdict depends on them, and they are most of a run. `report.py check=true` reads every file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from vlm_rl.checksums import HASHES, FileHash, Hashes, hash_of, read_hashes
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.files import leads_out, over_files
from vlm_rl.reports.reading.roles import UNTRAINED
from vlm_rl.reports.reading.runs import LARGEST_MANIFEST, Run
from vlm_rl.run_folder import FINISHED, LINE_FILES, TABLES

State = Literal["verified", "unverified", "changed"]
SINCE_HASHES = ("history", "sha256")  # keys of manifests whose runs write hashes
NAMED = 3  # files in a sentence


@dataclass(frozen=True, kw_only=True)
class FileEvidence:
    """Whether the files of a run folder are those that the run wrote."""

    state: State = "unverified"  # a run from before the hashes has none to be held against
    doubts: tuple[Doubt, ...] = ()


def file_evidence(run: Run) -> FileEvidence:
    """Hash the evaluations and the line files of a run, and compare."""
    has_hashes = (run.path / HASHES).exists()
    if not has_hashes and not (run.finished and any(key in run.manifest for key in SINCE_HASHES)):
        return FileEvidence()
    said = [*_wrong(run)] if has_hashes else [say_named("doubts.no_hashes", run=run.name)]
    doubts = tuple(Doubt(kind="changed_files", said=sentence) for sentence in said)
    return FileEvidence(state="changed" if doubts else "verified", doubts=doubts)


def _wrong(run: Run) -> Iterator[Phrase]:
    owners = (TABLES,) if run.role in UNTRAINED else (FINISHED,) if run.finished else (TABLES, FINISHED)
    notes = [(run.path / HASHES, owners)]
    notes += [(file, (file.parent.name,)) for file in sorted(run.path.glob(f"checkpoints/step-*/{HASHES}"))]
    found = _hashes_of_files(run.path)
    wrong: dict[str, Phrase] = {}  # file -> what is wrong with it, once
    for place, (file, of) in enumerate(notes):
        try:
            written = _read(file, of=of, run=run)
        except (FileNotFoundError, ValueError) as error:
            yield say_named("doubts.bad_hashes", run=run.name, reason=str(error))
            continue
        for name, why in _differences(run.path, written, found=found):
            wrong.setdefault(name, why)
        if place == 0 and run.finished:
            for name in sorted(found.keys() - written.keys() - {*LINE_FILES}):
                wrong.setdefault(name, say("{file} was not written by this run", file=name))
    if wrong:
        more = ", ..." * (len(wrong) > NAMED)
        yield say_named("doubts.files", run=run.name, count=len(wrong), files=listed(islice(wrong.values(), NAMED)), more=more)


def _read(file: Path, *, of: tuple[str, ...], run: Run) -> Hashes:
    """The evaluations and line files that a `hashes.json` knows. ValueError where it cannot be trusted."""
    if (why := leads_out(file, folder=run.path)) is not None:
        raise ValueError(why)
    if file.stat().st_size > LARGEST_MANIFEST:
        raise ValueError(f"{file} has more than {LARGEST_MANIFEST:,} bytes")
    return {name: one for name, one in read_hashes(file, "run", of=of).items() if name in LINE_FILES or _is_evaluation(name)}


def _is_evaluation(name: str) -> bool:
    return name.startswith("evaluations/") and name.count("/") == 2 and ".." not in name


def _hashes_of_files(folder: Path) -> dict[str, FileHash]:
    """Of what is there and lies in the folder."""
    files = [*sorted(folder.glob("evaluations/epoch-*/*.parquet")), *(folder / name for name in LINE_FILES)]
    there = [file for file in files if file.is_file() and leads_out(file, folder=folder) is None]
    names = [file.relative_to(folder).as_posix() for file in there]
    return dict(zip(names, over_files(_hash_of, there), strict=True))


def _hash_of(file: Path) -> FileHash:
    return recall("hash", stamp_of(file), make=lambda: hash_of(file))


def _differences(folder: Path, written: Hashes, *, found: Mapping[str, FileHash]) -> Iterator[tuple[str, Phrase]]:
    """(file, what is wrong with it); of a file of lines its beginning counts, for lines are added."""
    for name, before in written.items():
        now = found.get(name)
        if now is None:
            yield name, say("{file} is not there", file=name)
        elif now != before and not (name in LINE_FILES and _begins_with(folder / name, before, now=now)):
            yield name, say("{file} has changed", file=name)


def _begins_with(file: Path, before: FileHash, *, now: FileHash) -> bool:
    longer = isinstance(before.num_bytes, int) and now.num_bytes > before.num_bytes
    return longer and hash_of(file, num_bytes=before.num_bytes) == before
