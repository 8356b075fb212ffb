"""Killed, interrupted or out of time, and started again by the same command: a run ends as if nothing had happened."""

import itertools
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forking import Command, Forking
from tiny_commands import BRIEF, NUM_STEPS, TINY, content, only_run, train, trained_steps

from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.run_folder import RunFolder

NUM_KILLS = 6
LEAST_DURING_A_CHECKPOINT = 2
MOST_STARTS = 40


def lines_of(cwd: Path) -> int:
    """Lines of metrics, whole or not, of the only run here."""
    files = list(cwd.glob("outputs/*/*/seed-0/metrics.jsonl"))
    return files[0].read_bytes().count(b"\n") if files else 0


def half_checkpoints(cwd: Path, *, since: float) -> list[Path]:
    """Checkpoints that are being written."""
    found = []
    for path in cwd.glob("outputs/*/*/seed-0/checkpoints/*.tmp"):
        try:
            found += [path] if path.stat().st_mtime >= since else []
        except FileNotFoundError:
            continue
    return found


def kill_during_a_checkpoint(command: Command, cwd: Path) -> str:
    """As soon as a half checkpoint is seen."""
    begun = time.time()
    command.wait_until(lambda: bool(half_checkpoints(cwd, since=begun)))
    command.send(signal.SIGKILL)
    return "checkpoint" if half_checkpoints(cwd, since=begun) else "after a checkpoint"


def kill_during_a_step(command: Command, cwd: Path) -> str:
    """Some time after a line that was not there before."""
    before = lines_of(cwd)
    command.wait_until(lambda: lines_of(cwd) > before + 1)
    time.sleep(random.uniform(0, 0.15))
    command.send(signal.SIGKILL)
    return "training"


def kill_during_the_first_evaluation(command: Command, cwd: Path) -> str:
    """When the vanilla model is being evaluated."""
    command.wait_until(lambda: bool(list(cwd.glob("outputs/*/vanilla-*/seed-0/evaluations/*/*"))))
    command.send(signal.SIGKILL)
    return "first evaluation"


def moments() -> Iterator[Callable[[Command, Path], str]]:
    """Two of three kills hit a checkpoint, which makes no progress; the others let a step or two pass."""
    yield kill_during_the_first_evaluation
    yield from itertools.cycle([kill_during_a_checkpoint, kill_during_a_checkpoint, kill_during_a_step])


@pytest.mark.slow
def test_a_run_killed_at_many_moments_ends_as_if_nothing_had_happened(forking: Forking, whole: Path, tmp_path: Path) -> None:
    """On a busy machine a run can end before the moment is seen: then it is compared, taken away, and killed anew."""
    arguments, hits = [*TINY, "study=killed"], Counter[str]()
    expected = content(only_run(whole, study="whole"))
    for kill in itertools.islice(moments(), MOST_STARTS):
        command = forking.start("train.py", arguments, cwd=tmp_path)
        moment = kill(command, tmp_path)
        finished = command.wait()
        if finished.code == -signal.SIGKILL:
            hits[moment] += 1
        else:
            assert finished.code == 0, finished.out + finished.err
            assert content(only_run(tmp_path, study="killed")) == expected
            shutil.rmtree(tmp_path / "outputs")
        if hits.total() >= NUM_KILLS and hits["checkpoint"] >= LEAST_DURING_A_CHECKPOINT:
            break
    print("kills:", dict(hits))
    assert hits.total() >= NUM_KILLS
    assert hits["checkpoint"] >= LEAST_DURING_A_CHECKPOINT
    train(forking, tmp_path, *arguments)
    assert content(only_run(tmp_path, study="killed")) == expected
    assert not list(only_run(tmp_path, study="killed").path.rglob("*.tmp"))


@pytest.mark.slow
def test_ctrl_c_and_sigterm_finish_the_step_and_the_same_command_goes_on(forking: Forking, whole: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "study=interrupted", "checkpoint.every=100"]
    for number in (signal.SIGINT, signal.SIGTERM):
        before = lines_of(tmp_path)
        command = forking.start("train.py", arguments, cwd=tmp_path)
        assert command.wait_until(lambda before=before: lines_of(tmp_path) > before + 1)
        command.send(number)
        finished = command.wait()
        assert finished.code == 130, finished.out + finished.err
        run = only_run(tmp_path, study="interrupted")
        stopped_at = trained_steps(run)[-1]
        assert saved_steps(run)[-1].generation_steps == stopped_at < NUM_STEPS
        assert f"Stopped at generation step {stopped_at}. To continue:" in finished.out
        assert finished.out.rstrip().endswith("study=interrupted checkpoint.every=100")
        assert "Traceback" not in finished.err
    train(forking, tmp_path, *arguments)
    run, newest = only_run(tmp_path, study="interrupted"), slice(-1, None)  # others are kept with another checkpoint.every
    assert content(run, checkpoints=newest) == content(only_run(whole, study="whole"), checkpoints=newest)
    norms = [line["policy/gradient_norm"] for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    assert len(norms) == NUM_STEPS and min(norms) > 0  # otherwise equality would show little


@pytest.mark.slow
def test_ctrl_c_while_the_vanilla_model_is_evaluated_leaves_a_run_that_can_be_started_again(
    forking: Forking, whole: Path, tmp_path: Path
) -> None:
    command = forking.start("train.py", [*TINY, "study=early"], cwd=tmp_path)
    assert command.wait_until(lambda: bool(list(tmp_path.glob("outputs/*/vanilla-*/seed-0/evaluations/*/*"))))
    command.send(signal.SIGINT)
    finished = command.wait()
    assert finished.code == 130, finished.out + finished.err
    assert "Traceback" not in finished.err
    train(forking, tmp_path, *TINY, "study=early")
    assert content(only_run(tmp_path, study="early")) == content(only_run(whole, study="whole"))


@pytest.mark.slow
def test_max_time_stops_and_may_be_raised_afterwards(forking: Forking, whole: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "study=timed", "hydra.run.dir=outputs/timed/v/seed-0"]  # one folder, whatever max_time is
    finished = train(forking, tmp_path, *arguments, "trainer.max_time=00:00:00:00")
    assert "Stopped at generation step 0. To continue:" in finished.out
    train(forking, tmp_path, *arguments)
    assert content(only_run(tmp_path, study="timed")) == content(only_run(whole, study="whole"))


def test_a_finished_run_is_skipped(forking: Forking, whole: Path) -> None:
    run = only_run(whole, study="whole")
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    finished = train(forking, whole, *TINY, "study=whole")
    assert f"{run.path} is finished; nothing to do." in finished.out
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before


@pytest.mark.slow
def test_a_run_of_the_teacher_s_texts_goes_on_and_is_checked_like_any_other(forking: Forking, tmp_path: Path) -> None:
    arguments = [*(word for word in BRIEF if not word.startswith(("reward", "algorithm"))), "algorithm=sft", "study=taught"]
    train(forking, tmp_path, *arguments)
    run = only_run(tmp_path, study="taught")
    before = content(run)
    shutil.rmtree(saved_steps(run)[-1].path)
    run.write_manifest((run.manifest or {}) | {"status": "running"})
    assert "Resuming from" in train(forking, tmp_path, *arguments).out
    assert content(run) == before
    checked = forking.run("report.py", ["studies=[outputs/taught]", "check=true", "mend=false"], cwd=tmp_path)
    assert checked.code == 0 and "2 of 2 runs are whole." in checked.out, checked.out + checked.err


def test_a_folder_that_holds_another_config_is_an_error_that_names_the_keys(forking: Forking, whole: Path) -> None:
    arguments = [argument.replace("num_threads=1", "num_threads=2") for argument in TINY]
    finished = forking.run("train.py", [*arguments, "study=whole"], cwd=whole)
    assert finished.code == 2
    assert "holds a run with another config:\n  num_threads: 1 there, 2 here" in finished.err
    assert "Traceback" not in finished.err


def test_a_study_without_a_name_says_first_that_it_cannot_be_resumed(forking: Forking, tmp_path: Path) -> None:
    finished = forking.run("train.py", ["algorithm=grpo", "algorithm.group_size=1"], cwd=tmp_path)
    assert finished.out.splitlines()[0] == "This study has no name, so it cannot be resumed; study=NAME gives it one."


@pytest.mark.slow
def test_a_run_whose_disk_is_full_says_so_and_goes_on_when_there_is_space(
    forking: Forking, whole: Path, small_disk: Callable[[str], Path]
) -> None:
    cwd = small_disk("1m")
    finished = forking.run("train.py", [*TINY, "study=full"], cwd=cwd)
    assert finished.code == 2, finished.out + finished.err
    assert "The disk is full" in finished.err.splitlines()[-1]
    assert "Traceback" not in finished.err
    small_disk("64m")
    train(forking, cwd, *TINY, "study=full")
    assert content(RunFolder(path=only_run(cwd, study="full").path)) == content(only_run(whole, study="whole"))
