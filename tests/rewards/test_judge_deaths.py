"""How processes of the judge end: by what they judge, or by what happens to the machine. Only the first is a limit of the answer."""

import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_processes import is_gone, started, worker_of

from vlm_rl.rewards import judge_pool, judge_process
from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.rewards.judge_batch import Failure
from vlm_rl.rewards.judge_pool import Starts, WorkerPool

C = Verdict.CORRECT


# What a text may do to the process that judges it, as code for `eval`: (code, it is tried again)
DEATHS = [
    ("os._exit(0)", False),
    ("os._exit(3)", False),
    ("[0] * (1 << 29)", False),  # MemoryError: 4 GiB
    ("1 / 0", False),  # an error that nobody foresaw
    ("os.abort()", False),
    ("os.kill(os.getpid(), signal.SIGSEGV)", False),
    ("os.kill(os.getpid(), signal.SIGBUS)", False),
    ("os.kill(os.getpid(), signal.SIGXCPU)", False),
    ("os.kill(os.getpid(), signal.SIGKILL)", True),
    ("os.kill(os.getpid(), signal.SIGTERM)", True),
    ("os.kill(os.getpid(), signal.SIGHUP)", True),
    ("os.kill(os.getppid(), signal.SIGKILL)", True),  # the worker itself
]


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """One worker for all that needs no settings of its own."""
    made = WorkerPool(num_workers=1, cpu_s=1.0)
    yield made
    made.close()


def noted(note: Path, code: str) -> str:
    """The code, and a line in a file that says that it was tried; a judging process that is not fresh gives up before."""
    return f"(open({str(note)!r}, 'a').write('x'), {code})[-1]"


@pytest.mark.slow
@pytest.mark.parametrize(("code", "is_tried_again"), DEATHS)
def test_a_death_is_a_limit_or_is_tried_again(pool: WorkerPool, tmp_path: Path, code: str, *, is_tried_again: bool) -> None:
    """A limit is confirmed once in a fresh process; a death from outside is tried three times, each of them so."""
    code = code.replace("os.", "__import__('os').").replace("signal.", "__import__('signal').")
    note = tmp_path / "note"
    results = pool.map(eval, [("1 + 1",), (noted(note, code),), ("2 + 2",)])
    assert results == [2, Failure.LOST if is_tried_again else Failure.LIMIT, 4]
    is_of_worker = "getppid" in code
    assert len(note.read_text()) == (3 if is_of_worker else 4 if is_tried_again else 2)


@pytest.mark.slow
def test_a_task_whose_process_is_killed_twice_has_its_value(pool: WorkerPool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    kill = "__import__('os').kill(__import__('os').getppid(), 9)"
    code = noted(note, f"{kill} if len(open({str(note)!r}).read()) <= 2 else 'value'")
    assert pool.map(eval, [(code,)]) == ["value"]
    assert note.read_text() == "xxx"


@pytest.mark.slow
def test_the_limit_of_an_answer_does_not_depend_on_what_was_judged_before(tmp_path: Path) -> None:
    """An answer of 0.6 of the CPU limit is stopped in a process that judged another, and decided in a fresh one."""
    pool, note = WorkerPool(num_workers=1, cpu_s=0.4), tmp_path / "note"
    burn = "[0 for t in [__import__('time').process_time] for end in [t() + {}] for _ in iter(lambda: t() < end, False)] and 1"
    codes = ["1", *(noted(note, burn.format(seconds)) for seconds in (0.24, 0.24, 0.6))]
    assert pool.map(eval, [(code,) for code in codes]) == [1, 1, 1, Failure.LIMIT]
    assert note.read_text() == "xx" * 3  # each is begun twice
    pool.close()


@pytest.mark.slow
def test_a_worker_that_stays_stopped_is_replaced_and_its_answer_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_pool, "WALL_CLOCK_FACTOR", 0.0)
    monkeypatch.setattr(judge_pool, "WALL_CLOCK_MARGIN_S", 3.0)
    with Judge(num_workers=1, timeout_s=1.0) as judge:
        worker = worker_of(judge)
        os.killpg(worker, signal.SIGSTOP)
        assert judge.judge([r"\boxed{\sqrt{900}}"], ["30"]) == [C]
        assert is_gone(worker)


@pytest.mark.slow
def test_a_text_that_sleeps_is_not_judged_and_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_pool, "WALL_CLOCK_FACTOR", 0.0)
    monkeypatch.setattr(judge_pool, "WALL_CLOCK_MARGIN_S", 0.8)
    pool = WorkerPool(num_workers=2, cpu_s=1.0)
    assert pool.map(eval, [("__import__('time').sleep(60)",), *[("1 + 1",)] * 20]) == [Failure.LOST, *[2] * 20]
    pool.close()


@pytest.mark.slow
def test_workers_killed_while_they_start_cost_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four starts are killed before one is left alone: more than a start may fail by itself, or an answer may be tried."""
    monkeypatch.setattr(judge_pool, "FIRST_PAUSE_S", 0.01)
    num_killed = 0
    start = judge_process.subprocess.Popen

    def killed(*arguments: Any, **settings: Any) -> "subprocess.Popen[bytes]":
        nonlocal num_killed
        process = start(*arguments, **settings)
        if num_killed < 4:
            num_killed += 1
            process.send_signal(signal.SIGKILL if num_killed % 2 else signal.SIGTERM)
        return process

    monkeypatch.setattr(judge_process.subprocess, "Popen", killed)
    with Judge(num_workers=1, timeout_s=1.0) as judge:
        assert judge.judge([r"\boxed{\sqrt{9}}"], ["3"]) == [C]
    assert num_killed == 4


@pytest.mark.parametrize("program", ["raise ImportError('no SymPy')", "import os; os.abort()"])
def test_three_starts_that_fail_by_themselves_are_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    monkeypatch.setattr(
        judge_process,
        "PROGRAM",
        f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); import sys; sys.stderr = None; {program}",
    )
    monkeypatch.setattr(judge_pool, "FIRST_PAUSE_S", 0.01)
    with Judge() as judge, pytest.raises(RuntimeError, match=r"did not start \(3 attempts, .* same command goes on"):
        judge.judge([r"\boxed{\sqrt{9}}"], ["3"])
    assert (tmp_path / "starts").read_text() == "xxx"


def test_starts_that_are_killed_for_too_long_are_an_error() -> None:
    starts = Starts()
    now = time.monotonic()
    for age in (301.0, 200.0, 100.0):
        assert not starts.are_hopeless
        starts.failed("ended by SIGKILL", is_own=False, began=now - age)
        starts._last = -math.inf  # as if they had not run side by side
    starts.failed("ended by SIGKILL", is_own=False, began=now)
    assert starts.are_hopeless
    starts.succeeded()
    assert not starts.are_hopeless


@pytest.mark.slow
def test_a_limit_of_memory_that_answers_would_depend_on_is_an_error(tmp_path: Path) -> None:
    """The soft limit is the parent's own affair; a hard one is its workers' too."""
    program = """
        import resource, sys
        from vlm_rl.rewards.judge import Judge
        for limits in ((700 << 20, -1), (700 << 20, 900 << 20)):
            resource.setrlimit(resource.RLIMIT_AS, limits)
            with Judge() as judge:
                try:
                    print(judge.judge([r"\\boxed{\\sqrt{9}}"], ["3"])[0].value)
                except ValueError as error:
                    print(error)
    """
    output, _ = started(tmp_path, program, ["program.py"]).communicate(timeout=60)
    assert re.fullmatch(r"correct\n.* only 900 MiB .*`ulimit -v unlimited`.*\n", output)
