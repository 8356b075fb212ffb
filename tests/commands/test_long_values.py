"""However long a value of the data or of the command line is, what is printed of it fits on a screen, and still says what to do."""

import base64
import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from refusing import refusal

from vlm_rl.commands.build import build
from vlm_rl.datasets.shown import lines_shortened

pytestmark = pytest.mark.slow

LONG = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=300_000))
LETTERS = base64.b64encode(random.Random(0).randbytes(300_000)).decode()
SIZES = ("dataset.batch_size=2", "dataset.epochs=1", "dataset.max_new_tokens=4", "algorithm.num_minibatches=1", "num_threads=1")
KINDS = ("circle", "square")


def lines(folder: Path, *rows: dict[str, Any]) -> list[str]:
    """Three files with good rows; these among those to train on."""
    good = [{"id": f"g{i}", "question": f"What is {i} + 1?", "answer": str(i + 1), "kind": KINDS[i % 2]} for i in range(4)]
    for split in ("train", "val", "test"):
        members = [*good, *(rows if split == "train" else ())]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in members))
    return ["dataset=jsonl", f"dataset.source.folder={folder}", *SIZES]


def row(**fields: Any) -> dict[str, Any]:
    """A good row but for these."""
    return {"id": "bad", "question": "What is 2 + 2?", "answer": "4"} | fields


Said = Callable[..., str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """All that train.py says before it ends."""

    def say(*overrides: str) -> str:
        message = refusal(overrides, monkeypatch, begin=lambda cfg: build(cfg, command="train"))
        text = capsys.readouterr().out + lines_shortened(message)
        assert len(text) < 10_000
        assert max(map(len, text.splitlines())) < 1200  # words of our own included, and the command's
        return text

    return say


ROWS = {
    "name of a file": (row(question="<image>Q", image="x" * 300_000), "is too long for the name of a file"),
    "base64 that is no picture": (row(question="<image>Q", image=LETTERS), "and it is no picture in base64"),
    "name with many folders": (row(question="<image>Q", image="/".join(["a" * 200] * 20)), "bad"),
    "way out of the folder": (row(question="<image>Q", image="../" * 1_000 + "a.png"), "leaves the folder of the file"),
    "answer": (row(answer=LONG), "its answer"),
    "id": (row(id=LONG, question="<image>Q"), "Give each image one <image> in"),
    "ids that stand twice": (row(id="g" * 300_000, question="<image>"), "images"),
    "question": (row(question=LONG), "more than dataset.max_prompt_tokens"),
    "key": ({**row(), "k" * 300_000: 1, "answer": None}, "has no 'answer'"),
    "list": (row(answer=[LONG]), "is a list"),
    "category": (row(kind=[LONG]), "'kind' is a list"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_with_a_long_value_is_told_in_a_few_words(said: Said, tmp_path: Path, kind: str) -> None:
    bad, message = ROWS[kind]
    assert message in said(*lines(tmp_path, bad))


def test_a_long_number_is_told_in_a_few_words(said: Said, tmp_path: Path) -> None:
    overrides = lines(tmp_path)
    with open(tmp_path / "train.jsonl", "a") as file:
        file.write('{"id": "n", "question": "Q", "answer": ' + "1" * 300_000 + "}\n")
    assert "a number that is too long" in said(*overrides)


def test_a_table_with_long_texts_is_told_in_a_few_words(said: Said, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        with open(tmp_path / f"{split}.tsv", "w", newline="") as file:
            writer = csv.writer(file, delimiter="\t")
            writer.writerow(["image", "question", "answer"])
            writer.writerows([LETTERS, f"Which colour? {split} {i}", "A"] for i in range(20))
    message = said(
        "dataset=parquet", f"dataset.source.folder={tmp_path}", *SIZES,
        "dataset.source.files={train: train.tsv, val: val.tsv, test: test.tsv}",
    )  # fmt: skip
    assert "20 of 20 rows of split 'train' cannot be read" in message
    assert "and 10 more" in message
    assert "dataset.on_bad_row=skip" in message


def test_a_table_of_many_long_columns_is_told_in_a_few_words(said: Said, tmp_path: Path) -> None:
    header = ["text", "answer", *(f"{i} " + LONG[:9_000] for i in range(40))]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.csv").write_text(",".join(header) + "\n" + ",".join("1" for _ in header) + "\n")
    message = said(
        "dataset=parquet", f"dataset.source.folder={tmp_path}", *SIZES, "dataset.source.columns.images=null",
        "dataset.source.files={train: train.csv, val: val.csv, test: test.csv}",
    )  # fmt: skip
    assert "has no column 'question'" in message
    assert "Set dataset.source.columns.question." in message


OVERRIDES = {
    "prompt": (f"dataset.prompt='{LONG[:90_000]}'", "has no {question}"),
    "value of a filter": (f"dataset.filter={{train: {{kind: {'v' * 90_000}}}}}", "There are 'circle' (2), 'square' (2)"),
    "field of a filter": (f"dataset.filter={{train: {{{'f' * 90_000}: 1}}}}", "no row has a field 'fff"),
    "split": (f"dataset.subset={{{'s' * 90_000}: 1}}", "the splits are train, val, test"),
    "number": (f"dataset.batch_size={'7' * 90_000}x", "batch_size"),
    "key": (f"dataset.{'k' * 200}=1", "There is no config key"),
    "choice": (f"reward={'r' * 200}", "Could not find"),
    "what is done with bad rows": (f"dataset.on_bad_row={'b' * 90_000}", "it is either error or skip"),
    "folder": (f"dataset.source.folder={'d' * 90_000}", "File name too long"),
}


@pytest.mark.parametrize("kind", OVERRIDES)
def test_a_long_word_of_the_command_line_is_told_in_a_few_words(said: Said, tmp_path: Path, kind: str) -> None:
    override, message = OVERRIDES[kind]
    assert message in said(*lines(tmp_path), override)


def test_the_command_prints_no_more_than_that(forking: Forking, tmp_path: Path) -> None:
    finished = forking.run("train.py", [*lines(tmp_path), OVERRIDES["prompt"][0], "study=s"], cwd=tmp_path)
    assert (finished.code, len(finished.out + finished.err) < 10_000) == (2, True)
    assert OVERRIDES["prompt"][1] in finished.err
