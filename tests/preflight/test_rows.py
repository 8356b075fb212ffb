"""Rows that would break or mislead a run are found before it, each with its fix; the others are measured."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.row import Row
from vlm_rl.models.prompts import PromptLength
from vlm_rl.preflight.pictures import Cache, look_at, named
from vlm_rl.preflight.rows import Rules, SplitCheck, check_split
from vlm_rl.preflight.scan import judged_golds
from vlm_rl.rewards.judge import Judge


class Words:
    """A prompt is as long as its words, and an image token for each four pixels of its pictures."""

    special_tokens = frozenset({"<|pad|>"})

    def lengths(self, rows: Sequence[Row]) -> list[PromptLength]:
        """Of each row; it knows no Greek, and text with the token of an image ends it as it ends Transformers."""
        for row in rows:
            row.question.replace("<|pad|>", "").encode("latin-1")
            next(iter([None] * (1 - row.question.count("<|pad|>"))))
        return [
            PromptLength(text=len(row.question.split()), image=sum(w * h // 4 for w, h in (image.size for image in row.images)))
            for row in rows
        ]


def row(name: str, *, question: str = "<image>Q", answer: str = "7", images: tuple[Path, ...] = ()) -> Row:
    """A row with images on disk."""
    return Row(id=name, question=question, answer=answer, solution=None, images=tuple(map(picture_file, images)))


def picture(path: Path, *, share: float = 1.0, size: tuple[int, int] = (8, 8)) -> Path:
    """A noisy picture, or its first bytes."""
    Image.effect_noise(size, 60).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def check(judge: Judge, *rows: Row, num_checked: int | None = None, needs_solutions: bool = False) -> SplitCheck:
    """All rules, prompts of up to 20 tokens; a solution is as long as its letters."""
    cache = Cache(folder=None)
    rules = Rules(
        looked=look_at(named(image for row in rows[:num_checked] for image in row.images), decode="auto", cache=cache),
        unfit_golds=judged_golds({row.answer for row in rows}, judge=judge, dataset="d", cache=cache).unfit,
        special_tokens=Words.special_tokens,
        prompts=Words(),
        max_prompt_tokens=20,
        needs_solutions=needs_solutions,
        solution_tokens=lambda texts: [len(text.encode("latin-1")) for text in texts],
    )
    return check_split(rows, split="train", rules=rules, num_checked=num_checked)


def found(judge: Judge, *rows: Row, needs_solutions: bool = False) -> dict[str, str]:
    """Messages by row."""
    return {problem.row_id: problem.message for problem in check(judge, *rows, needs_solutions=needs_solutions).problems}


def test_a_good_row_has_no_problem(judge: Judge, tmp_path: Path) -> None:
    assert found(judge, row("a", images=(picture(tmp_path / "a.png"),)), row("b", question="Q")) == {}


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_seen_whole_before_training(
    judge: Judge, tmp_path: Path, suffix: str, share: float
) -> None:
    path = picture(tmp_path / f"half.{suffix}", share=share, size=(64, 64))
    told = found(judge, row("a", images=(path,)))["a"]
    assert told.startswith(f"its image {path} cannot be read")
    assert told.endswith("Save it again or drop the row.")


def test_missing_and_broken_pictures_are_told_apart(judge: Judge, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    told = found(judge, row("gone", images=(tmp_path / "gone.png",)), row("broken", images=(broken,)))
    assert told["gone"] == f"its image {tmp_path / 'gone.png'} is not there. Restore the file or drop the row."
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
    assert told["long"].endswith("Raise the limit, or lower dataset.max_pixels.")
    assert "is not judged equal to itself" in told["unparsable"]
    assert told["twice"] == "its id stands 2 times. Ids must be unique."
    assert "no worked solution" in found(judge, row("a", question="Q"), needs_solutions=True)["a"]


def test_a_row_with_two_bad_pictures_is_told_of_the_first(judge: Judge, tmp_path: Path) -> None:
    gone = [tmp_path / f"{name}.png" for name in "ab"]
    checked = check(judge, row("a", question="<image><image>Q", images=tuple(gone)))
    assert [problem.message.split()[2] for problem in checked.problems] == [str(gone[0])]


def test_what_can_be_measured_is_measured_and_what_is_left_has_a_key(judge: Judge, tmp_path: Path) -> None:
    """8 x 8 pixels are 16 tokens, 8 x 10 are 20: with the word of the question one too many."""
    fits, large = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", size=(8, 10))
    rows = [
        row("fits", images=(fits,)),
        row("gone", images=(tmp_path / "gone.png",)),
        row("large", images=(large,)),
        row("words", question="a b c"),
    ]
    checked = check(judge, *rows)
    assert checked.ids == ("fits", "large", "words")
    assert checked.places.tolist() == [0, 2, 3]
    assert checked.prompt_tokens.tolist() == [17, 21, 3]
    assert checked.image_tokens.tolist() == [16, 20, 0]
    assert [problem.row_id for problem in checked.problems] == ["gone", "large"]
    assert checked.keys == tuple(bytes.fromhex(rows[i].content_key) for i in (0, 3))
    assert (checked.num_rows, checked.num_bad) == (4, 2)


def test_rows_beyond_those_to_be_checked_are_told_apart_but_not_looked_at(judge: Judge) -> None:
    checked = check(judge, row("a", question="a b"), row("b", question="w " * 30), num_checked=1)
    assert checked.problems == ()
    assert checked.prompt_tokens.tolist() == [2]
    assert len(checked.keys) == 2


def test_solutions_are_measured_where_there_are_any(judge: Judge) -> None:
    rows = [Row(id=str(i), question="Q", answer="7", solution="s" * i or None, images=()) for i in (0, 3, 5)]
    assert check(judge, *rows).solution_tokens.tolist() == [3, 5]


def test_a_row_that_the_tokenizer_refuses_is_told_and_the_others_are_measured(judge: Judge) -> None:
    checked = check(judge, row("a", question="a b"), row("odd", question="angle \u03b1"), row("b", question="a b c"))
    (problem,) = checked.problems
    assert (problem.row_id, problem.reason) == ("odd", "refused by tokenizer or processor")
    assert problem.message.startswith(
        "the model's tokenizer or processor refuses it (UnicodeEncodeError: 'latin-1' codec can't"
    )
    assert problem.message.endswith("Mend the row or drop it.")
    assert (checked.ids, checked.text_tokens.tolist(), checked.num_bad) == (("a", "b"), [2, 3], 1)


def test_a_solution_that_the_tokenizer_refuses_is_told_and_the_others_are_measured(judge: Judge) -> None:
    rows = [Row(id=text, question="Q", answer="7", solution=text, images=()) for text in ("abc", "\u03b1", "de")]
    checked = check(judge, *rows)
    assert [problem.row_id for problem in checked.problems] == ["\u03b1"]
    assert checked.solution_tokens.tolist() == [3, 2]


def test_a_text_with_a_special_token_is_one_problem_and_ends_nothing(judge: Judge) -> None:
    checked = check(judge, row("a", question="a b"), row("odd", question="what does <|pad|> mean"))
    (problem,) = checked.problems
    assert problem.row_id == "odd"
    assert "<|pad|>" in problem.message
    assert checked.ids == ("a",)


def test_more_rows_than_a_chunk_are_all_there_in_their_order(judge: Judge) -> None:
    checked = check(judge, *(row(str(i), question="w " * (1 + i % 7)) for i in range(2_500)))
    assert checked.ids == tuple(map(str, range(2_500)))
    assert checked.text_tokens.tolist() == [1 + i % 7 for i in range(2_500)]
