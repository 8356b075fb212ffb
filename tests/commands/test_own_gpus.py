"""Processes that share a machine never share a GPU, and what they leave is taken again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from vlm_rl.commands import own_gpus
from vlm_rl.commands.own_gpus import visible_gpus

CLAIM = """
import sys
from vlm_rl.commands.own_gpus import own_gpus
print(own_gpus(int(sys.argv[1])), own_gpus(int(sys.argv[1])), flush=True)
sys.stdin.read()
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that claims GPUs twice, prints them, and keeps them until it ends."""
    started: list[subprocess.Popen[str]] = []

    def start(count: int, *, visible: str) -> subprocess.Popen[str]:
        around = os.environ | {
            "TMPDIR": str(tmp_path),
            "CUDA_VISIBLE_DEVICES": visible,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", CLAIM, str(count)], text=True, env=around, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def claimed(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    first, again = process.stdout.readline().split()
    assert first == again, "a process keeps what it has"
    return first


def test_no_two_processes_hold_the_same_gpu_and_one_that_was_killed_holds_none(worker: Start) -> None:
    both = [worker(1, visible="4,GPU-5f/0") for _ in range(2)]
    held = [claimed(process) for process in both]
    assert sorted(held) == ["4", "GPU-5f/0"]
    both[0].kill()
    both[0].wait()
    assert claimed(worker(1, visible="4,GPU-5f/0")) == held[0]


def test_a_job_of_two_gpus_gets_two_whole_ones(worker: Start) -> None:
    pairs = [claimed(process).split(",") for process in [worker(2, visible="0,1,2,3") for _ in range(2)]]
    assert sorted(gpu for pair in pairs for gpu in pair) == ["0", "1", "2", "3"]


def test_without_a_free_gpu_the_error_says_what_to_do(worker: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert claimed(worker(1, visible="4,5")) == "4"
    monkeypatch.setattr(own_gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(own_gpus, "PATIENCE_S", 0.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    told = r"wants 2 of the 2 GPUs that are visible here \(CUDA_VISIBLE_DEVICES=4,5\) for itself; 1 are free.* smaller JOBS or GPUS"
    with pytest.raises(RuntimeError, match=told):
        own_gpus.own_gpus(2)
    assert claimed(worker(1, visible="4,5")) == "5", "what was taken in vain is given back"


@pytest.mark.parametrize(
    ("named", "gpus"),
    [
        ("4,5", ["4", "5"]),
        (" 1, GPU-8932f937-d72c ", ["1", "GPU-8932f937-d72c"]),
        ("", []),
        ("-1", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_the_gpus_are_those_that_the_variable_names(named: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def test_without_the_variable_the_gpus_are_all_that_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert visible_gpus() == ["0", "1", "2"]
