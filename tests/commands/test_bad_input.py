"""What a person gets wrong is said before training starts: what, where and how to mend it; our message last, no traceback."""

import json
from pathlib import Path

import pytest
from forking import Finished, Forking
from PIL import Image

from vlm_rl.commands.build import build, composed

pytestmark = pytest.mark.slow

JSONL = ("dataset=jsonl", "dataset.batch_size=2", "dataset.epochs=1", "dataset.max_new_tokens=4", "algorithm.num_minibatches=1")


def refused(forking: Forking, cwd: Path, *overrides: str) -> Finished:
    """The command must end at once, with exit code 2."""
    finished = forking.run("train.py", [*overrides, "num_threads=1", "study=s"], cwd=cwd)
    assert finished.code == 2, finished.out + finished.err
    assert "Traceback" not in finished.err
    assert "InstantiationException" not in finished.err
    assert not list(cwd.glob("outputs/*/*/*/metrics.jsonl"))
    return finished


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["datset.epochs=3"], "There is no config key 'datset.epochs'. Did you mean dataset.epochs"),
        (["model=qwne"], "Could not find 'model/qwne'\n\nAvailable options in 'model':\n\t"),
        (["dataset=jsonl", "dataset.source.folder=nowhere"], "nowhere/train.jsonl is not there (split 'train')"),
        (["+dataset.source.colour=red"], "unexpected keyword argument 'colour' (built from the config key 'dataset.source')"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(forking: Forking, tmp_path: Path, overrides: list[str], told: str) -> None:
    finished = refused(forking, tmp_path, *overrides)
    last = finished.err[finished.err.rindex("\nError: ") :]
    assert told in last
    assert len(last) < 800  # forty models by name


def write_splits(folder: Path, train: list[dict[str, object]]) -> None:
    """Three files: these rows to train on, two good ones each for the others."""
    good = [{"id": f"g{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(2)]
    for split, rows in (("train", train), ("val", good), ("test", good)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def bad_rows(tmp_path: Path) -> Path:
    """Two good rows and one of each bad kind."""
    Image.effect_noise((56, 56), 50).save(tmp_path / "good.png")
    (tmp_path / "noise.png").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:1500])
    rows: list[dict[str, object]] = [
        {"id": "good-1", "question": "<image>How long?", "answer": "7", "image": "good.png"},
        {"id": "good-2", "question": "What is 2 + 2?", "answer": "4"},
        {"id": "missing", "question": "<image>How long?", "answer": "7", "image": "nothing.png"},
        {"id": "broken", "question": "<image>How long?", "answer": "7", "image": "noise.png"},
        {"id": "truncated", "question": "<image>How long?", "answer": "7", "image": "half.png"},
        {"id": "unparsable", "question": "What?", "answer": "???"},
        {"id": "markers", "question": "How long?", "answer": "7", "image": "good.png"},
        {"id": "long", "question": "What is " + "1 + " * 900 + "1?", "answer": "901"},
    ]
    write_splits(tmp_path, rows)
    return tmp_path


def test_bad_rows_are_named_with_the_fix_or_left_out_and_counted(forking: Forking, bad_rows: Path) -> None:
    overrides = [*JSONL, "dataset.source.folder=.", "dataset.max_prompt_tokens=500", "dry_run=rollouts"]
    message = refused(forking, bad_rows, *overrides).err
    for row in ("missing", "broken", "truncated", "unparsable", "markers", "long"):
        assert f"row '{row}': its" in message or f"row '{row}': it has" in message
    assert "6 of 8 rows of split 'train' cannot be used" in message
    assert "Mend them, or leave them out by dataset.on_bad_row=skip." in message
    skipping = forking.run("train.py", [*overrides, "dataset.on_bad_row=skip", "num_threads=1", "study=s"], cwd=bad_rows)
    assert skipping.code == 0, skipping.out + skipping.err
    assert "6 of 8 rows of split 'train' are left out" in skipping.out


def test_sft_needs_a_worked_solution_before_it_starts(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "with", "question": "What is 1 + 1?", "answer": "2", "solution": r"\boxed{2}"},
        {"id": "without", "question": "What is 1 + 2?", "answer": "3"},
    ]
    write_splits(tmp_path, rows)
    with pytest.raises(ValueError, match="row 'without': it has no worked solution, which algorithm=sft learns") as caught:
        build(composed([*JSONL, f"dataset.source.folder={tmp_path}", "algorithm=sft"]), command="train")
    assert "row 'with'" not in str(caught.value)
