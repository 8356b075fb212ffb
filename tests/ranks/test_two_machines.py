"""Two machines, both of them this one: torchrun on each, and a rank that dies while the other hangs as in a collective of NCCL."""

import json
import os
import socket
import subprocess
from pathlib import Path

import dying
import pytest
from forked import on_two_ranks
from forking import Forking
from tiny_commands import BRIEF, content, only_run, trained_steps
from typed import BIN, PATIENCE_S, ROOT

from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.commands import rank_logs

pytestmark = pytest.mark.slow
TRAIN = str(ROOT / "train.py")
TWO_MACHINES = ("trainer.num_nodes=2", "trainer.devices=1")
MORTAL = (*BRIEF, "dataset.source.train_rows=16", "checkpoint.every=1", dying.WORD)  # 4 steps; the third is the last for some


def by_two_torchruns(*words: str, cwd: Path) -> list[str]:
    """What each machine says; its command must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"--rdzv-endpoint=127.0.0.1:{free.getsockname()[1]}"
    command = (str(BIN / "torchrun"), "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", place, TRAIN, *words)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    machines = [
        subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=PATIENCE_S)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    return said


def test_two_machines_train_the_run_of_two_processes_of_one(forking: Forking, tmp_path: Path) -> None:
    said = by_two_torchruns(*BRIEF, *TWO_MACHINES, "study=two", "seed=0,1", "-m", cwd=tmp_path)
    one = on_two_ranks(forking, TRAIN, (*BRIEF, "trainer.devices=2", "study=one"), cwd=tmp_path)
    assert one.code == 0, one.err
    two = only_run(tmp_path, study="two")
    assert content(two) == content(only_run(tmp_path, study="one"))
    assert (only_run(tmp_path, study="two", seed=1).manifest or {})["status"] == "finished"
    assert sorted(text.count("Left in ") for text in said) == [0, 2]  # by the first rank, once for each run
    assert (two.path / "train.log").read_text().count("Begun: ") == 1
    for rank in (0, 1):
        log = rank_logs.log_of(two.path, rank).read_text()
        assert f" rank {rank} of 2, process " in log and log.endswith("Ended.\n")


@pytest.mark.parametrize(("rank", "how"), [(1, "kill"), (0, "exit")])
def test_where_one_rank_dies_and_another_hangs_all_end_and_the_run_goes_on(
    rank: int, how: str, forking: Forking, tmp_path: Path
) -> None:
    """Nobody else ends the survivor here, and it is in no collective of gloo, which would fail by itself."""
    (tmp_path / dying.DEATHS).write_text(json.dumps({str(rank): how, str(1 - rank): "hang"}))
    words = (*MORTAL, *TWO_MACHINES, "study=mortal")
    ended = on_two_ranks(forking, TRAIN, words, cwd=tmp_path)
    run = only_run(tmp_path, study="mortal")
    assert ended.code == 2 and trained_steps(run) == [1, 2]
    log = rank_logs.log_of(run.path.absolute(), rank)
    assert f"Error: Rank {rank} " in ended.err and "ended without a word: it was killed" in ended.err
    assert "the same command goes on from the last checkpoint. Its log is " in ended.err and str(log) in ended.err
    assert [saved.damages() for saved in saved_steps(run)] == [[], []]
    (tmp_path / dying.DEATHS).unlink()
    for study in ("mortal", "undisturbed"):
        assert on_two_ranks(forking, TRAIN, (*MORTAL, *TWO_MACHINES, f"study={study}"), cwd=tmp_path).code == 0
    assert content(run) == content(only_run(tmp_path, study="undisturbed"))
