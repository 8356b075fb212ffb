"""A job of SLURM without SLURM: whose signals it hears, and when it has itself requeued. tests/real_clusters has the real one."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlm_rl.commands import slurm_job


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The task of an array; squeue says what $STATE is, and scontrol writes down what it was asked."""
    asked = tmp_path / "asked"
    for name, line in (("squeue", 'echo "$STATE"'), ("scontrol", f'echo "$@" >{asked}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    variables = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return asked


def test_a_task_of_an_array_is_requeued_by_its_own_name(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is that of the whole array where it is the last task."""
    monkeypatch.setenv("STATE", "RUNNING")
    slurm_job.requeue()
    assert calls.read_text() == "requeue 5_2\n"


def test_a_job_that_slurm_ends_is_left_to_slurm(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cancelled one must not come back."""
    monkeypatch.setenv("STATE", "COMPLETING")
    slurm_job.requeue()
    assert not calls.exists()
    assert capsys.readouterr().out == "SLURM ends job 5_2 (COMPLETING).\n"


def test_outside_of_a_job_nothing_is_heard_or_asked(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE", "RUNNING")
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    slurm_job.requeue()
    assert not calls.exists()
    assert slurm_job.announcing_signals() == ()


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Both as a fresh process has them, and at the end as before."""
    before = [(name, signal.signal(name, signal.SIG_DFL)) for name in slurm_job.ANNOUNCING]
    yield
    for name, handler in before:
        signal.signal(name, handler)


@pytest.mark.usefixtures("calls", "default_signals")
def test_either_signal_does_what_submitit_does_at_its_own() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    slurm_job.listen()
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    assert heard == [signal.SIGUSR1, signal.SIGUSR2]
