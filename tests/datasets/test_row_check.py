"""Rows that would break or mislead a run are found before it, each with its fix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from vlm_rl.datasets.jsonl import ImageFile
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import BadRows, RowProblem, checked, find_problems
from vlm_rl.rewards.judge import Judge


@pytest.fixture
def judge() -> Iterator[Judge]:
    """Starts no process for plain numbers."""
    made = Judge(num_workers=1, timeout_s=2.0)
    yield made
    made.close()


def row(name: str, *, question: str = "<image>Q", answer: str = "7", images: tuple[Path, ...] = ()) -> Row:
    """A row with images on disk."""
    files = tuple(ImageFile(path=path) for path in images)
    return Row(id=name, question=question, answer=answer, solution=None, images=files)


def words(row: Row, pictures: list[Image.Image]) -> int:
    """A prompt is as long as its words, and ten for each picture."""
    return len(row.question.split()) + 10 * len(pictures)


def found(judge: Judge, *rows: Row, needs_solutions: bool = False) -> dict[str, str]:
    """Messages by row."""
    problems = find_problems(rows, judge=judge, prompt_tokens=words, max_prompt_tokens=20, needs_solutions=needs_solutions)
    return {problem.row_id: problem.message for problem in problems}


def picture(path: Path, *, share: float = 1.0) -> Path:
    """A noisy picture, or its first bytes."""
    Image.effect_noise((64, 64), 60).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def test_a_good_row_has_no_problem(judge: Judge, tmp_path: Path) -> None:
    assert found(judge, row("a", images=(picture(tmp_path / "a.png"),)), row("b", question="Q")) == {}


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_seen_whole_before_training(
    judge: Judge, tmp_path: Path, suffix: str, share: float
) -> None:
    path = picture(tmp_path / f"half.{suffix}", share=share)
    told = found(judge, row("a", images=(path,)))["a"]
    assert told.startswith(f"its image {path} cannot be read")
    assert told.endswith("Save it again or drop the row.")


def test_missing_and_broken_pictures_are_told_apart(judge: Judge, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    gone = picture(tmp_path / "gone.png")
    rows = [row("gone", images=(gone,)), row("broken", images=(broken,))]
    gone.unlink()  # only now: the type checker of the tests looks at the key, which reads the file
    told = found(judge, *rows)
    assert "gone.png is not there. Restore the file or drop the row." in told["gone"]
    assert "broken.png cannot be read" in told["broken"]


def test_markers_lengths_golds_solutions_and_ids(judge: Judge, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    rows = [
        row("two markers", question="<image><image>Q", images=(image,)),
        row("no marker", question="Q", images=(image,)),
        row("long", question="w " * 21),
        row("unparsable", question="Q", answer=""),
        row("twice", question="Q"),
        row("twice", question="R"),
    ]
    told = found(judge, *rows)
    assert told["two markers"].startswith("it has 2 <image> markers but 1 images.")
    assert told["no marker"].startswith("it has 0 <image> markers but 1 images.")
    assert "its prompt has 21 tokens, image tokens included, more than dataset.max_prompt_tokens=20" in told["long"]
    assert "is not judged equal to itself" in told["unparsable"]
    assert told["twice"] == "its id stands 2 times. Ids must be unique."
    assert "no worked solution" in found(judge, row("a", question="Q"), needs_solutions=True)["a"]


def test_the_error_shows_ten_and_counts_the_rest() -> None:
    rows = [row(str(i)) for i in range(30)]
    problems = [RowProblem(row_id=str(i), message="it is bad.") for i in range(12)]
    with pytest.raises(BadRows) as caught:
        checked(rows, problems, split="val", on_bad_row="error")
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 30 rows of split 'val' cannot be used:"
    assert lines[1] == "  row '0': it is bad."
    assert lines[11:] == ["  and 2 more", "Mend them, or leave them out by dataset.on_bad_row=skip."]


def test_skipped_rows_are_counted_and_the_others_keep_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(name) for name in "abc"]
    kept = checked(rows, [RowProblem(row_id="b", message="it is bad.")], split="train", on_bad_row="skip")
    assert [row.id for row in kept] == ["a", "c"]
    assert "1 of 3 rows of split 'train' are left out" in capsys.readouterr().out
