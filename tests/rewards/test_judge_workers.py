"""Bombs, hangs, crashes and killed parents: each costs a worker at most, and no right answer is lost."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judge_processes import is_gone, started, worker_of

from vlm_rl.rewards import judge as judging
from vlm_rl.rewards.judge import Judge, Verdict

C, W, U, T = Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE, Verdict.TIMED_OUT

CHEAP_BOMBS = [
    "9^9^9^9",
    "1e999999999",
    "1" * 299,
    "1" * 1_000_000,
    "{" * 1_000_000,
    "(" * 290,
    r"\sqrt{" * 40 + "2" + "}" * 40,
    r"\frac{1}{" * 30 + "2" + "}" * 30,
    "1," * 140 + "1",
    "1,111" * 60,
    "-" * 290 + "1",
    "x=" * 140 + "21",
    "a " * 149,
    " " * 1_000_000 + "21",
    "$" * 1_000_000,
    r"\boxed{" * 1000,
    "\\" * 999_999,
    "\x00\ud800",
]
COSTLY_BOMBS = [
    "9^{9^{9^{9}}}",
    "((((((((20!)!)!)!)!)!)!)!)",
    r"\sum_{k=1}^{10^{12}} \sqrt{k}",
    "2^{2^{2^{2^{2^{2}}}}}",
]


def test_a_bomb_is_never_right_and_raises_nothing(judge: Judge) -> None:
    for bomb in CHEAP_BOMBS:
        start = time.monotonic()
        verdicts = judge.judge([rf"\boxed{{{bomb}}}", r"\boxed{20.0}"], ["20", "20"])
        assert verdicts[0] in {W, U, T}
        assert verdicts[1] is C
        assert time.monotonic() - start < 20.0


@pytest.mark.slow
def test_answers_queued_behind_bombs_are_still_judged(judge: Judge) -> None:
    answers = [COSTLY_BOMBS[0], r"\sqrt{400}", COSTLY_BOMBS[1], "4 \\cdot 5", COSTLY_BOMBS[2], "19 + 1"]
    verdicts = judge.judge([rf"\boxed{{{answer}}}" for answer in answers], ["20"] * 6)
    assert verdicts[1::2] == [C, C, C]
    assert C not in verdicts[0::2]
    assert T in verdicts[0::2]


def test_a_verdict_is_remembered_so_that_a_bomb_costs_one_worker_once(judge: Judge) -> None:
    bomb = [rf"\boxed{{{COSTLY_BOMBS[3]}}}"]
    first = judge.judge(bomb, ["20"])
    start = time.monotonic()
    assert judge.judge(bomb, ["20"]) == first
    assert time.monotonic() - start < 0.05


def test_the_newest_verdicts_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def counted(gold: str, answer: str | None, **equal: object) -> str:
        asked.append(answer)
        return "wrong"

    monkeypatch.setattr(judging, "verdict", counted)
    monkeypatch.setattr(judging, "CACHE_SIZE", 2)
    with Judge() as judge:
        for answer in ("1", "2", "2", "3", "2", "1"):  # 1 is forgotten when 3 comes
            judge.judge([rf"\boxed{{{answer}}}"], ["7"])
    assert asked == ["1", "2", "3", "1"]


@pytest.mark.slow
def test_a_worker_that_was_killed_or_closed_is_replaced() -> None:
    """Killed while idle, as by the system's out-of-memory killer."""
    with Judge(num_workers=1, timeout_s=1.0) as judge:
        assert judge.judge([r"\boxed{\sqrt{9}}"], ["3"]) == [C]
        os.kill(worker_of(judge), signal.SIGKILL)
        assert judge.judge([r"\boxed{\sqrt{16}}", r"\boxed{\sqrt{17}}"], ["4", "4"]) == [C, W]
        worker = worker_of(judge)
        judge.close()
        assert judge._pool.num_alive == 0
        assert is_gone(worker)
        assert judge.judge([r"\boxed{\sqrt{25}}"], ["5"]) == [C]


@pytest.mark.slow
def test_time_is_counted_by_the_worker_s_cpu_and_not_by_the_clock(judge: Judge) -> None:
    worker = worker_of(judge)
    os.killpg(worker, signal.SIGSTOP)  # as good as a machine too busy to run it
    threading.Timer(2.5, os.killpg, (worker, signal.SIGCONT)).start()
    assert judge.judge([r"\boxed{\sqrt{900}}"], ["30"]) == [C]  # timeout_s is 1.0
    assert worker_of(judge) == worker


def test_a_worker_imports_neither_torch_nor_transformers(judge: Judge) -> None:
    (modules,) = judge._pool.map(eval, [("list(__import__('sys').modules)",)])
    assert isinstance(modules, list)
    assert "sympy" in modules
    assert not {"torch", "transformers", "lightning", "hydra", "numpy"} & set(modules)


@pytest.mark.slow
def test_threads_and_forks_may_share_a_judge(judge: Judge) -> None:
    def judged(number: int) -> list[Verdict]:
        return judge.judge([rf"\boxed{{\sqrt{{{number**2}}}}}"], [str(number)])

    worker = worker_of(judge)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(judged, range(1000, 1020))) == [[C]] * 20
    if not (fork := os.fork()):
        os._exit(0 if judged(2000) == [C] and worker_of(judge) != worker else 1)
    assert os.waitpid(fork, 0)[1] == 0
    assert judged(3000) == [C]
    assert worker_of(judge) == worker


PROGRAM = """
    import heavy  # stands for torch
    import os, sys, time
    from vlm_rl.rewards.judge import Judge

    judge = Judge(num_workers=1, timeout_s=5.0)
    print(judge.judge([r"\\boxed{\\sqrt{9}}"], ["3"])[0].value)
    print("heavy" in judge._pool.map(eval, [("list(__import__('sys').modules)",)])[0])
    print(judge._pool.map(os.getppid, [()])[0], flush=True)
"""


@pytest.mark.slow
def test_a_worker_does_not_import_the_program_again_and_ends_with_it(tmp_path: Path) -> None:
    process = started(tmp_path, PROGRAM, ["-m", "program"])
    output, _ = process.communicate(timeout=60)
    assert output.split()[:2] == ["correct", "False"]
    assert process.returncode == 0
    assert is_gone(int(output.split()[2]))


@pytest.mark.slow
@pytest.mark.parametrize("work", ["time.sleep(60)", r"judge.judge([r'\\boxed{9^{9^{9^{9}}}}'], ['3'])"])
def test_no_worker_outlives_a_killed_parent(tmp_path: Path, work: str) -> None:
    """Nor does it import a program without `if __name__ == "__main__"`, as console scripts of other tools may be."""
    process = started(tmp_path, PROGRAM + f"    {work}\n", ["program.py"])
    assert process.stdout is not None
    verdict, has_imported, worker = (process.stdout.readline().strip() for _ in range(3))
    assert (verdict, has_imported) == ("correct", "False")
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_gone(int(worker), within_s=10.0)


@pytest.mark.slow
def test_a_judge_works_inside_a_joblib_worker(tmp_path: Path) -> None:
    program = """
        import heavy
        from joblib import Parallel, delayed
        from vlm_rl.rewards.judge import Judge

        def judged(number):
            with Judge(num_workers=1, timeout_s=5.0) as judge:
                return judge.judge([rf"\\boxed{{\\sqrt{{{number ** 2}}}}}"], [str(number)])[0].value

        if __name__ == "__main__":
            print(*Parallel(n_jobs=2, backend="loky")(delayed(judged)(number) for number in (3, 4)))
    """
    output, _ = started(tmp_path, program, ["program.py"]).communicate(timeout=60)
    assert output.split() == ["correct", "correct"]
