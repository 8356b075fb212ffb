"""Inside of a job that submitit sent to SLURM: the signals that announce an end, and how the job is taken up again by itself.

submitit's own answer to a signal is to requeue the job in the middle of a step. That is kept only for the time before training, when
there is nothing to lose; there it also refuses a job whose time limit is over before training begins.
"""

import os
import signal
import subprocess

ANNOUNCING = (signal.SIGUSR1, signal.SIGUSR2)  # submitit asks for SIGUSR2 before the time limit; sites also send SIGUSR1


def announcing_signals() -> tuple[signal.Signals, ...]:
    """Those that ask a run to write a checkpoint and to go on later; none outside of a job of submitit's."""
    return ANNOUNCING if _is_job() else ()


def listen() -> None:
    """Before training: what submitit does at one of the signals is done at the other one, too, whose default ends the process."""
    if not _is_job():
        return
    heard = [handler for name in ANNOUNCING if callable(handler := signal.getsignal(name))]
    for name in ANNOUNCING:
        if signal.getsignal(name) is signal.SIG_DFL and heard:
            signal.signal(name, heard[0])


def requeue() -> None:
    """After a checkpoint was written at a signal: have SLURM start this job again, unless SLURM itself is ending it.

    It ends a job that was cancelled, whose node is taken for another one (and requeues it then), or whose time is over.
    """
    if not _is_job():
        return
    job = _name_of_job()
    state = _said_by("squeue", "--noheader", f"--jobs={job}", "--format=%T")
    if state.stdout.strip() != "RUNNING":
        print(f"SLURM ends job {job} ({state.stdout.strip() or state.stderr.strip()}).", flush=True)
        return
    asked = _said_by("scontrol", "requeue", job)
    print(
        f"SLURM starts job {job} again."
        if asked.returncode == 0
        else f"Job {job} is not started again: {asked.stderr.strip()}",
        flush=True,
    )


def _is_job() -> bool:
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and "SLURM_JOB_ID" in os.environ


def _name_of_job() -> str:
    """The last job of an array has the number of the whole array, so that the number alone would requeue all of them."""
    array, place = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{place}"


def _said_by(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
