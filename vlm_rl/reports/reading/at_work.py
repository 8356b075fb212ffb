"""Who is at work on a study now. Nothing here takes a lock: a run that begins at that very moment would be refused.

A run is at work while its process touches `.holder.json` (run_lock.py), on this machine or another.
"""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.reading.files import leads_out
from vlm_rl.reports.reading.runs import Run, RunsFound
from vlm_rl.run_lock import HOLDER, PATIENCE_S, Holder, holder_in, this_process

State = Literal["finished", "running", "starting", "waiting", "interrupted", "failed"]
LARGEST_HOLDER = 2**16  # bytes
MOST_NAMED = 3  # runs in a sentence


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run, begun or only named by a command."""

    run: str  # study/variant/seed-0, or what its command says of it
    state: State
    step: int | None = None
    steps: int | None = None
    seconds_left: float = math.nan
    what: Phrase | str = ""  # how it is known, and what to type


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """The run folders with a process at work, by study folder; studies where one was a moment ago may have none now."""

    folders: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)

    def has(self, run: Run) -> bool:
        """Whether somebody trains this very run."""
        return run.path.resolve() in self.folders.get(run.study_folder, ())

    def names(self, study: Path) -> list[str]:
        """`algorithm-grpo/seed-0` of the first runs at work in a study."""
        return ["/".join(folder.parts[-2:]) for folder in self.folders.get(study, ())[:MOST_NAMED]]

    @property
    def growing(self) -> Collection[Path]:
        """Studies that have more results soon."""
        return self.folders.keys()


NOBODY = AtWork()


def find_at_work(found: RunsFound, *, lately: Collection[Path] = ()) -> AtWork:
    """Who is at work in the studies of these runs; `lately`: studies where somebody was, whose next job may be about to begin."""
    studies = {run.study_folder for run in found.runs}
    folders = {study: at_work_in(study) for study in sorted(studies)}
    return AtWork(folders={study: of_study for study, of_study in folders.items() if of_study or study in lately})


def at_work_in(study: Path) -> tuple[Path, ...]:
    """The run folders of a study with a process at work."""
    own, now = this_process(""), time.time()
    held = (file.parent for file in sorted(study.glob(f"*/seed-*/{HOLDER}")))
    return tuple(folder.resolve() for folder in held if _is_at_work(folder, own=own, now=now))


def _is_at_work(folder: Path, *, own: Holder, now: float) -> bool:
    """Whether its holder has touched its file lately; on this machine also whether that process is there."""
    file = folder / HOLDER
    try:
        if leads_out(file, folder=folder) is not None or (status := file.stat()).st_size > LARGEST_HOLDER:
            return False
    except OSError:
        return False
    holder = holder_in(folder)
    is_gone = (
        holder is not None
        and (holder.machine, holder.host) == (own.machine, own.host)
        and isinstance(holder.pid, int)
        and not (0 < holder.pid < 2**31 and psutil.pid_exists(holder.pid))
    )
    return abs(now - status.st_mtime) <= PATIENCE_S and not is_gone
