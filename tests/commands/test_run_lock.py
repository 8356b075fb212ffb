"""One process trains into a run folder: a second one says who does and ends; a dead one's folder is taken over."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from forking import Forking
from tiny_commands import BRIEF, TINY, content, only_run, train

from vlm_rl import run_lock
from vlm_rl.run_lock import HOLDER, LOCK, held, this_process

COMMAND = "python train.py study=mine"
ELSEWHERE = replace(this_process(COMMAND), machine="another", host="node-7", pid=41)


@contextmanager
def holding(folder: Path) -> Iterator[list[str]]:
    """The lock of a folder, and what is told when it is lost."""
    told: list[str] = []
    with held(folder, command=COMMAND, lost=told.append):
        yield told


def refusal(folder: Path) -> str:
    """What a process is told that may not train there."""
    with pytest.raises(ValueError, match="is being trained by") as caught, holding(folder):
        pass
    return str(caught.value)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats every 10 ms, and half a second of patience."""
    for name, seconds in (("BEAT_S", 0.01), ("PATIENCE_S", 0.5), ("POLL_S", 0.02)):
        monkeypatch.setattr(run_lock, name, seconds)


def test_a_second_holder_is_told_who_the_first_is_and_what_to_do(tmp_path: Path) -> None:
    with holding(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
        said = refusal(tmp_path)
    assert said.startswith(f"{tmp_path} is being trained by process {os.getpid()} on ")
    assert f"({COMMAND})" in said and f"`kill -INT {os.getpid()}`" in said and str(tmp_path / LOCK) in said
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    with holding(tmp_path) as told:
        assert told == []


def test_a_folder_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    holds = f"from vlm_rl.run_lock import *; import time\nwith held(Path({str(tmp_path)!r}), command='x', lost=print): time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", holds])
    while not (tmp_path / HOLDER).exists():
        time.sleep(0.01)
    assert f"process {process.pid} on" in refusal(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / HOLDER).exists()
    begun = time.monotonic()
    with holding(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
    assert time.monotonic() - begun < 1
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 3}', "\xff", "[" * 100_000])
def test_a_damaged_holder_file_stops_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / HOLDER).write_text(text, encoding="latin-1")
    with holding(tmp_path):
        (tmp_path / HOLDER).write_text(text, encoding="latin-1")
        assert "by another process, which has not written who it is. " in refusal(tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_holder_on_another_machine_whose_file_is_touched_is_alive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / HOLDER).write_text(json.dumps(asdict(ELSEWHERE)))
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(0.01):
            os.utime(tmp_path / HOLDER)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert "by process 41 on node-7 since" in refusal(tmp_path)
    finally:
        is_over.set()
        thread.join()
    assert "Looking up to" in capsys.readouterr().out
    assert json.loads((tmp_path / HOLDER).read_text()) == asdict(ELSEWHERE)


@pytest.mark.usefixtures("quick")
def test_a_holder_on_another_machine_whose_file_stands_still_is_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / HOLDER).write_text(json.dumps(asdict(ELSEWHERE)))
    with holding(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
    waiting, taken = capsys.readouterr().out.splitlines()
    assert waiting.startswith(f"{tmp_path} was held by process 41 on node-7 since ")
    assert taken == f"It does not. This process takes {tmp_path} over."


@pytest.mark.usefixtures("quick")
def test_a_holder_beats_and_notices_that_another_machine_took_over(tmp_path: Path) -> None:
    with holding(tmp_path) as told:
        first = (tmp_path / HOLDER).stat().st_mtime_ns
        time.sleep(0.1)
        assert (tmp_path / HOLDER).stat().st_mtime_ns > first and told == []
        run_lock.write_whole(tmp_path / HOLDER, lambda file: file.write_text(json.dumps(asdict(ELSEWHERE))))
        time.sleep(0.1)
    assert told[0].startswith(f"{tmp_path} was taken over by process 41 on node-7 since ")
    assert json.loads((tmp_path / HOLDER).read_text()) == asdict(ELSEWHERE)  # not ours to remove


def test_a_lock_that_cannot_be_a_lock_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / LOCK).mkdir()
    with pytest.raises(ValueError, match=r"a/\.lock cannot be locked"), holding(tmp_path / "a"):
        pass
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / HOLDER).symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="link that leads out"), holding(tmp_path / "b"):
        pass


@pytest.mark.slow
def test_a_command_is_refused_where_another_process_trains_and_a_dry_run_is_not(forking: Forking, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "twice" / "v" / "seed-0"
    arguments = [*BRIEF, "study=twice", f"hydra.run.dir={folder}"]
    with holding(folder):
        refused = forking.run("train.py", arguments, cwd=tmp_path)
        left = sorted(path.name for path in folder.iterdir())
        dry = forking.run("train.py", [*arguments, "dry_run=rollouts"], cwd=tmp_path)
    assert refused.code == 2 and "Traceback" not in refused.err
    assert refused.err.count("Error: ") == 1
    assert f"Error: {folder} is being trained by process {os.getpid()} on " in refused.err
    assert left == [HOLDER, LOCK]
    assert dry.code == 0, dry.err


@pytest.mark.slow
def test_jobs_of_a_killed_sweep_end_with_it_and_the_same_command_goes_on(
    forking: Forking, tmp_path: Path, seed_2: dict[str, str]
) -> None:
    arguments = [*BRIEF, "study=orphans", "seed=2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m"]
    sweep = forking.start("train.py", arguments, cwd=tmp_path)
    assert sweep.wait_until(lambda: bool(list(tmp_path.glob(f"outputs/orphans/*/seed-2/{HOLDER}"))))
    below = psutil.Process(sweep.pid).children(recursive=True)
    sweep.send(signal.SIGKILL)
    begun = time.monotonic()
    _, alive = psutil.wait_procs(below, timeout=60)  # one that loads looks after that
    print(f"{len(below)} processes ended within {time.monotonic() - begun:.1f} s")
    assert len(below) >= 2 and alive == []
    run = only_run(tmp_path, study="orphans", seed=2)
    train(forking, tmp_path, *BRIEF, "study=orphans", "seed=2", "-m")  # one of its jobs
    assert content(run) == seed_2


STOPPED = "Error: Stopped at once. The same command goes on from the last checkpoint."


@pytest.mark.slow
def test_ctrl_c_again_and_again_ends_at_once_with_130_and_one_sentence(forking: Forking, whole: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "study=again", "checkpoint.every=1"]
    for seen in ("", "v*/seed-0/evaluations/*/*", "e*/seed-0/metrics.jsonl", "e*/seed-0/checkpoints/*"):
        shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
        command = forking.start("train.py", arguments, cwd=tmp_path)
        assert command.wait_until(lambda seen=seen: bool(list(tmp_path.glob(f"outputs/again/{seen}"))))
        for gap in (0.0, 0.1, 0.0, 0.01):
            time.sleep(gap)
            command.send(signal.SIGINT)
        ended = command.wait()
        assert (ended.code, ended.err.replace(STOPPED, "").strip()) == (130, ""), ended.out
        step_was_finished = "Stopped at generation step" in ended.out  # before the second signal, and so it was not needed
        assert ended.err.count(STOPPED) == (0 if step_was_finished else 1), ended.out
    train(forking, tmp_path, *arguments)
    assert content(only_run(tmp_path, study="again")) == content(only_run(whole, study="whole"))
