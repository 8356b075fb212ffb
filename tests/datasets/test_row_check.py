"""What is said of rows that would break or mislead a run: by id, with the fix."""

from pathlib import Path

import pytest

from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import RowProblem, problems_of_text, repeated_ids, report, without


def row(name: str, *, question: str = "Q", solution: str | None = None) -> Row:
    """A row without images."""
    return Row(id=name, question=question, answer="7", solution=solution, images=())


def problem(name: str) -> RowProblem:
    """Some problem of a row."""
    return RowProblem(row_id=name, message="it is bad.", reason="bad")


def told(row: Row, *, needs_solution: bool = False) -> dict[str, str]:
    """Messages by reason."""
    return {problem.reason: problem.message for problem in problems_of_text(row, needs_solution=needs_solution)}


def test_markers_must_match_images_and_a_question_must_ask_something() -> None:
    assert told(row("a", solution="7"), needs_solution=True) == {}
    message = "it has 2 <image> markers but 0 images. Give each image one <image> in `question`, in order."
    assert told(row("a", question="<image><image>Q")) == {"markers and images differ": message}
    assert told(row("a", question=" \n")) == {
        "no question": "its question is empty. Give it words or an image, or drop the row."
    }


@pytest.mark.parametrize("solution", [None, ""])
def test_only_who_learns_from_solutions_needs_one(solution: str | None) -> None:
    assert told(row("a", solution=solution)) == {}
    assert "which algorithm=sft learns from" in told(row("a", solution=solution), needs_solution=True)["no worked solution"]


def test_an_id_that_stands_three_times_is_one_problem() -> None:
    (twice,) = repeated_ids(["a", "b", "a", "c", "a"])
    assert (twice.row_id, twice.message) == ("a", "its id stands 3 times. Ids must be unique.")


def test_the_error_shows_ten_and_counts_the_rest() -> None:
    with pytest.raises(ValueError, match="cannot be used") as caught:
        report([problem(str(i)) for i in range(12)], num_rows=30, split="val", on_bad_row="error")
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 30 rows of split 'val' cannot be used:"
    assert lines[1] == "  row '0': it is bad."
    assert lines[11:] == ["  and 2 more", "Mend them, or leave them out by dataset.on_bad_row=skip."]


def test_skipped_rows_are_counted_and_the_others_keep_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    rows, bad = [row(name) for name in "abc"], [problem("b"), problem("b")]
    report(bad, num_rows=3, split="train", on_bad_row="skip")
    assert "1 of 3 rows of split 'train' are left out" in capsys.readouterr().out
    assert [row.id for row in without(rows, bad)] == ["a", "c"]
    assert without(rows, []) is rows
    report([], num_rows=3, split="train", on_bad_row="error")
    assert capsys.readouterr().out == ""


PIXEL = picture_file(Path("nowhere.png"))  # never opened
QWEN = frozenset({"<|image_pad|>", "<|im_end|>", "<|im_start|>", "<|im_end"})
SMOL = frozenset({"<image>", "<end_of_utterance>"})  # the token of the model is written as our marker


def special(text: str, *, tokens: frozenset[str], part: str = "question") -> str:
    """What is said of a question with one image, or of a solution."""
    question, solution = (text, "7") if part == "question" else ("<image>Q", text)
    asked = Row(id="a", question=question, answer="7", solution=solution, images=(PIXEL,))
    problems = list(problems_of_text(asked, needs_solution=True, special_tokens=tokens))
    assert {problem.reason for problem in problems} <= {"special token in a text"}
    return " ".join(problem.message for problem in problems)


@pytest.mark.parametrize("part", ["question", "solution"])
@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>"])
def test_a_special_token_of_the_model_in_a_text_is_a_problem(part: str, token: str) -> None:
    marker = "<image>" if part == "question" else ""
    told = f"its {part} holds {token!r}, which this model reads as a special token and not as text. Write it in another way"
    assert told in special(f"{marker}Find x.{token}\n", tokens=QWEN, part=part)


def test_the_markers_of_a_question_are_no_special_tokens_but_those_of_a_solution_are() -> None:
    assert special("<image>Find x.", tokens=SMOL) == ""
    assert "holds '<image>'" in special("See <image>.", tokens=SMOL, part="solution")
    assert special("See <image>.", tokens=QWEN, part="solution") == ""


def test_a_token_is_not_made_by_taking_a_marker_out() -> None:
    assert special("<|im_<image>start|>", tokens=QWEN) == ""  # the chat template puts the image there


@pytest.mark.parametrize("text", ["<image>Is <b>x</b> < 3 | y > 4?", "<image>a < |im_end| > b", "<image><|IM_START|>"])
def test_what_only_looks_like_a_token_is_text(text: str) -> None:
    assert special(text, tokens=QWEN) == ""
    assert special(text, tokens=frozenset()) == ""


def test_solutions_that_nobody_learns_from_may_hold_anything() -> None:
    asked = row("a", solution="7<|im_end|>")
    assert list(problems_of_text(asked, needs_solution=False, special_tokens=QWEN)) == []
