"""What every run of a study is doing: finished, at work, waiting, interrupted or failed, and how long it still takes."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm_rl.reports.phrase import say_named
from vlm_rl.reports.reading.arms import Arm, RunRecords
from vlm_rl.reports.reading.at_work import AtWork, RunState
from vlm_rl.reports.reading.expected_seeds import missing_jobs, named_seeds
from vlm_rl.reports.reading.files import count_of, leads_out, number
from vlm_rl.reports.reading.runs import Run, RunsFound
from vlm_rl.run_lock import holder_in

LOG, TAIL = "train.log", 2**14  # of a job of a sweep (commands/job_log.py), and bytes read of its end
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ (Begun: |Ended\.|Stopped |Failed\.)", flags=re.MULTILINE)
LONGEST_REASON = 200  # characters


def states_of(arms: Sequence[Arm], *, found: RunsFound, at_work: AtWork) -> tuple[RunState, ...]:
    """Every run that trains, has trained or is to train, in the order of arms."""
    trained = [run for arm in arms for run in arm.runs if not run.run.is_vanilla and not run.run.is_evaluated_only]
    begun = [_state_of(run, at_work=at_work) for run in trained]
    own = {run.run.path.resolve() for run in trained}
    with_manifest = {run.path.resolve() for run in (*found.runs, *found.not_passed, *found.others)}
    for folders in at_work.folders.values():
        begun += [_starting(folder) for folder in folders if folder not in own | with_manifest]
    named = {state.run for state in begun} | {run.name for run in (*found.not_passed, *found.others)}
    return (*begun, *(state for state in _to_come([run.run for run in trained], at_work=at_work) if state.run not in named))


def _starting(folder: Path) -> RunState:
    return RunState(run="/".join(folder.parts[-3:]), state="starting", what=say_named("states.starting"))


def _to_come(runs: Sequence[Run], *, at_work: AtWork) -> Iterator[RunState]:
    """What commands name and no folder has: seeds of these arms, and whole arms."""
    own = {(run.study_folder, run.arm, run.seed) for run in runs}
    said: set[str] = set()
    for run in runs:
        for command, seeds in named_seeds(run):
            for seed in sorted(seeds):
                name = f"{run.study}/{run.variant}/seed-{seed}"
                if (run.study_folder, run.arm, seed) not in own and name not in said:
                    said.add(name)
                    yield _waiting(name, command=command, is_growing=run.study_folder in at_work.growing)
    for study, command, jobs in missing_jobs(runs):
        for job in jobs:
            yield _waiting(f"{study.name}: {job}", command=command, is_growing=study in at_work.growing)


def _waiting(name: str, *, command: str, is_growing: bool) -> RunState:
    what = say_named("states.waiting") if is_growing else say_named("states.not_started", command=command)
    return RunState(run=name, state="waiting", what=what)


def _state_of(records: RunRecords, *, at_work: AtWork) -> RunState:
    run = records.run
    step, steps = _progress(records)
    if run.finished:
        return RunState(run=run.name, state="finished", step=step, steps=steps)
    if at_work.has(run):
        left = seconds_left(records, step=step, steps=steps)
        return RunState(run=run.name, state="running", step=step, steps=steps, seconds_left=left)
    command = str(run.manifest.get("command", ""))
    if reason := _failure(run.path):
        what = say_named("states.failed", reason=reason, command=command)
        return RunState(run=run.name, state="failed", step=step, steps=steps, what=what)
    if _takes_its_turn(run, command=command, at_work=at_work):
        return RunState(run=run.name, state="waiting", step=step, steps=steps, what=say_named("states.its_turn"))
    return RunState(
        run=run.name, state="interrupted", step=step, steps=steps, what=say_named("states.interrupted", command=command)
    )


def _takes_its_turn(run: Run, *, command: str, at_work: AtWork) -> bool:
    """Whether the command of this run is at work on another run of its study: it comes to this one, too."""
    holders = (holder_in(folder) for folder in at_work.folders.get(run.study_folder, ()))
    return bool(command) and any(holder is not None and holder.command == command for holder in holders)


def _progress(records: RunRecords) -> tuple[int | None, int | None]:
    """The last generation step that was logged, and how many there will be: epochs of the config, at the epochs that a step makes."""
    lines = records.training.records
    step, epoch = (number(lines[-1], key=key) if lines else math.nan for key in ("generation_steps", "epoch"))
    if not math.isfinite(step):
        return (0 if not records.run.finished else None), None
    epochs = count_of(records.run.config.get("dataset", {}).get("epochs"))
    return int(step), round(step * epochs / epoch) if epochs and math.isfinite(epoch) and epoch > 0 else None


def seconds_left(records: RunRecords, *, step: int | None, steps: int | None) -> float:
    """By the pace since the last start, evaluations included; NaN where that is not known yet."""
    starts = records.run.starts
    if not starts or step is None or steps is None or step <= (begun := starts[-1]).generation_steps:
        return math.nan
    try:
        seconds = (records.run.path / "metrics.jsonl").stat().st_mtime - begun.time
    except OSError:
        return math.nan
    return max(0, steps - step) * seconds / (step - begun.generation_steps) if seconds > 0 else math.nan


def _failure(folder: Path) -> str:
    """The last line of what ended a job of a sweep, as its log has it; empty where it did not fail, or has no log."""
    file = folder / LOG
    try:
        if leads_out(file, folder=folder) is not None:
            return ""
        with file.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
            text = log.read(TAIL).decode(errors="replace")
    except OSError:
        return ""
    ends = list(LOG_LINE.finditer(text))
    if not ends or ends[-1][1] != "Failed.":
        return ""
    lines = [line.strip() for line in text[ends[-1].end() :].splitlines() if line.strip()]
    return (lines[-1] if lines else "Failed")[:LONGEST_REASON]
