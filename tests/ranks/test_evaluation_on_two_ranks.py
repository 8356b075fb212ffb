"""Two ranks share out the questions of an evaluation and answer them with the very bytes of one rank; so does a dry run."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import on_two_ranks
from forking import Forking
from tiny_commands import BRIEF, only_run, train
from typed import EVALUATE, ROOT, TORCHRUN, TRAIN, interrupted, typed

from vlm_rl import ranks
from vlm_rl.evaluation.evaluator import Evaluator

ROWS = ("evaluation.scheme.batch_rows=1", "trainer.devices=2")
TORCHRUN_EVALUATE = (*TORCHRUN[:-1], str(ROOT / "evaluate.py"))


@pytest.fixture(scope="module")
def trained(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run has been trained on one rank."""
    cwd = tmp_path_factory.mktemp("trained")
    train(forking, cwd, *BRIEF, "study=s", "dataset.source.val_rows=5", "dataset.evaluation_rows=5")
    return cwd


def answers(cwd: Path) -> dict[str, bytes]:
    """Bytes of all evaluations of the only checkpoint that was evaluated."""
    (folder,) = only_run(cwd, study="s").path.glob("evaluate/*/seed-0")
    assert not (folder / "parts").exists() or not list((folder / "parts").rglob("*.parquet"))
    return {file.name: file.read_bytes() for file in sorted(folder.glob("evaluations/*/*.parquet"))}


def parts(cwd: Path) -> list[Path]:
    """Batches that an evaluation has stored so far."""
    return list(only_run(cwd, study="s").path.glob("evaluate/*/seed-0/parts/**/*.parquet"))


@pytest.mark.slow
def test_evaluations_of_a_checkpoint_are_the_same_bytes_on_one_and_on_two_ranks(trained: Path, forking: Forking) -> None:
    """Of the two ranks one is killed at first; the next two go on from what is stored."""
    checkpoint = f"checkpoint={only_run(trained, study='s').path}"
    one = forking.run("evaluate.py", [checkpoint, ROWS[0]], cwd=trained)
    assert one.code == 0, one.err
    expected = answers(trained)
    assert len(expected) == 3
    path = only_run(trained, study="s").path / "evaluate"
    path.rename(path.with_name("evaluated on one rank"))
    killed = interrupted(
        (*EVALUATE, checkpoint, *ROWS), cwd=trained, number=signal.SIGKILL, rank=1, when=lambda: len(parts(trained)) > 0
    )
    assert "Rank 1 was killed by SIGKILL" in killed.out
    ended = typed((*TORCHRUN_EVALUATE, checkpoint, *ROWS), cwd=trained)
    assert ended.code == 0, ended.out
    assert ended.out.count("Every sample is in") == 1  # said once
    assert answers(trained) == expected


@pytest.mark.slow
def test_a_dry_run_shows_the_same_on_two_ranks(trained: Path, forking: Forking) -> None:
    words = (*BRIEF, "study=dry", "dry_run=rollouts")
    one = forking.run("train.py", words, cwd=trained)
    two = on_two_ranks(forking, TRAIN[-1], (*words, "trainer.devices=2"), cwd=trained)
    assert one.code == two.code == 0, one.err + two.err
    assert one.out.splitlines()[-5:] == two.out.splitlines()[-5:]
    assert one.out.count("<image>") == two.out.count("<image>") == 4


def test_ranks_take_whole_batches_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 questions in batches of 4: what is answered together does not depend on the number of ranks."""
    evaluator = Evaluator.__new__(Evaluator)
    evaluator.scheme = SimpleNamespace(batch_rows=4)  # type: ignore[assignment]
    shared = []
    for rank in (0, 1):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(ranks, "num_ranks", lambda: 2)
        shared.append([list(batch) for batch in evaluator.batches(10)])
    assert shared == [[[0, 1, 2, 3], [8, 9]], [[4, 5, 6, 7]]]
