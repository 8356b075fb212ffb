"""Rows that would break or mislead a run are found before it, each with its fix; the others are measured."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.utils import instantiate
from PIL import Image

from vlm_rl.commands.build import composed
from vlm_rl.datasets import split_check as rows_module
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.picture_check import Cache, check_pictures, named
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_scan import judged_golds
from vlm_rl.datasets.split_check import PromptLength, Rules, SplitCheck, check_split
from vlm_rl.models import prompt_lengths
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts
from vlm_rl.rewards.judge import Judge


class Words(Prompts):
    """A prompt is as long as its words, and an image token for each four pixels of its pictures; a solution as long as its letters."""

    special_tokens = frozenset({"<|pad|>"})  # type: ignore[assignment]  # a property there

    def __init__(self) -> None:
        """Needs no processor."""

    def lengths(self, rows: Sequence[Row]) -> list[PromptLength]:
        """Of each row; it knows no Greek, and text with the token of an image ends it as it ends Transformers."""
        for row in rows:
            row.question.replace("<|pad|>", "").encode("latin-1")
            next(iter([None] * (1 - row.question.count("<|pad|>"))))
        return [
            PromptLength(text=len(row.question.split()), image=sum(w * h // 4 for w, h in (image.size for image in row.images)))
            for row in rows
        ]

    def solution_lengths(self, rows: Sequence[Row]) -> list[int]:
        """It knows no Greek here either."""
        return [len((row.solution or "").encode("latin-1")) for row in rows]


def row(name: str, *, question: str = "<image>Q", answer: str = "7", images: tuple[Path, ...] = ()) -> Row:
    """A row with images on disk."""
    return Row(id=name, question=question, answer=answer, solution=None, images=tuple(map(picture_file, images)))


def picture(path: Path, *, share: float = 1.0, size: tuple[int, int] = (8, 8)) -> Path:
    """A noisy picture, or its first bytes."""
    Image.effect_noise(size, 60).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def check(
    judge: Judge, *rows: Row, num_checked: int | None = None, needs_solutions: bool = False, prompts: Prompts | None = None
) -> SplitCheck:
    """All rules, prompts of up to 20 tokens."""
    cache = Cache(folder=None)
    rules = Rules(
        pictures=check_pictures(
            named(image for row in rows[:num_checked] for image in row.images), decode="auto", cache=cache, dataset="d"
        ),
        unfit_golds=judged_golds({row.answer for row in rows}, judge=judge, dataset="d", cache=cache).unfit,
        prompts=prompts or Words(),
        max_prompt_tokens=20,
        needs_solutions=needs_solutions,
    )
    return check_split(rows, rules=rules, num_checked=num_checked)


def found(judge: Judge, *rows: Row, needs_solutions: bool = False) -> dict[str, str]:
    """Messages by row."""
    return {problem.row_id: problem.message for problem in check(judge, *rows, needs_solutions=needs_solutions).problems}


@pytest.mark.parametrize(("suffix", "share"), [("png", 0.1), ("png", 0.9), ("jpg", 0.5)])
def test_a_picture_that_is_cut_off_is_seen_whole_before_training(
    judge: Judge, tmp_path: Path, suffix: str, share: float
) -> None:
    path = picture(tmp_path / f"half.{suffix}", share=share, size=(64, 64))
    messages = found(judge, row("a", images=(path,)))["a"]
    assert messages.startswith(f"its image {path} cannot be read")
    assert messages.endswith("Save it again or drop the row.")


def test_images_markers_lengths_golds_solutions_and_ids(judge: Judge, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    rows = [
        row("two gone", question="<image><image>Q", images=(tmp_path / "gone.png", tmp_path / "gone too.png")),
        row("two markers", question="<image><image>Q", images=(image,)),
        row("no marker", question="Q", images=(image,)),
        row("long", question="w " * 21),
        row("unparsable", question="Q", answer=""),
        row("twice", question="Q"),
        row("twice", question="R"),
    ]
    messages = found(judge, row("good", images=(image,)), *rows)
    assert "good" not in messages
    assert messages["two gone"] == f"its image {tmp_path / 'gone.png'} is not there. Restore the file or drop the row."
    assert messages["two markers"].startswith("it has 2 <image> markers but 1 images.")
    assert messages["no marker"].startswith("it has 0 <image> markers but 1 images.")
    assert "its prompt has 21 tokens, image tokens included, more than dataset.max_prompt_tokens=20" in messages["long"]
    assert messages["long"].endswith("Raise the limit, or lower dataset.max_pixels.")
    assert "is not judged equal to itself" in messages["unparsable"]
    assert messages["twice"] == "its id stands 2 times. Ids must be unique."
    assert "no worked solution" in found(judge, row("a", question="Q"), needs_solutions=True)["a"]


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
    assert check(judge, *rows, needs_solutions=True).solution_tokens.tolist() == [3, 5]
    assert check(judge, *rows).solution_tokens.tolist() == []


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
    checked = check(judge, *rows, needs_solutions=True)
    assert [problem.row_id for problem in checked.problems] == ["\u03b1"]
    assert checked.solution_tokens.tolist() == [3, 2]


def test_more_rows_than_a_chunk_are_all_there_in_their_order(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "CHUNK", 10)
    checked = check(judge, *(row(str(i), question="w " * (1 + i % 7)) for i in range(25)))
    assert checked.ids == tuple(map(str, range(25)))
    assert checked.text_tokens.tolist() == [1 + i % 7 for i in range(25)]


@pytest.fixture(scope="module")
def qwen() -> Prompts:
    """Qwen2.5-VL's processor over a data set with the question as the whole prompt."""
    dataset: Dataset = instantiate(composed(["dataset=micro_geometry", "dataset.prompt='{question}'"]).dataset)
    return Prompts(processor=load_processor("tiny", {}), dataset=dataset)


def test_what_a_model_s_processor_cannot_take_is_that_row_s_problem_only(judge: Judge, qwen: Prompts, tmp_path: Path) -> None:
    """Qwen takes no picture 200 times as wide as it is high; 56 x 56 pixels are four tokens. No encoding takes half a letter."""
    wide, good = picture(tmp_path / "wide.png", size=(3_000, 10)), picture(tmp_path / "good.png", size=(56, 56))
    rows = [
        row("a", images=(good,)),
        row("wide", images=(wide,)),
        row("half", question="x \ud835"),
        *(row(token, question=f"what does {token} mean?") for token in ("<|image_pad|>", "<|vision_start|>", "<|im_end|>")),
        row("b", question="Q"),
    ]
    checked = check(judge, *rows, prompts=qwen)
    messages = {problem.row_id: problem.message for problem in checked.problems}
    assert messages.keys() == {row.id for row in rows[1:-1]}
    assert "absolute aspect ratio must be smaller than 200" in messages["wide"]
    assert all(token in messages[token] for token in messages if "|" in token)
    kept = dict(zip(checked.ids, checked.image_tokens.tolist(), strict=True))
    assert (kept["a"], kept["b"]) == (4, 0)


def test_a_token_of_an_image_in_a_text_raises_and_names_the_row(qwen: Prompts, tmp_path: Path) -> None:
    odd = row("odd", question="<image>what does <|image_pad|> mean?", images=(picture(tmp_path / "a.png", size=(56, 56)),))
    for measure in (lambda: qwen.lengths([odd]), lambda: qwen.process(odd)):
        with pytest.raises(ValueError, match=r"row 'odd' has 1 images, but 2 times <\|image_pad\|> in its prompt"):
            measure()


def test_what_is_remembered_of_sizes_has_a_bound_and_no_long_runs(
    qwen: Prompts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """28 to 140 pixels in each direction: 1 to 5 tokens each way; of those used last four are kept, a token for each run."""
    monkeypatch.setattr(prompt_lengths, "KEPT", 4)
    measure = Prompts(processor=qwen._processor, dataset=qwen._dataset)
    rows = [row(str(i), images=(picture(tmp_path / f"{i}.png", size=(56 + 28 * i, 140)),)) for i in range(6)]
    lengths = measure.lengths([*rows, rows[3], *rows[:2]])
    assert [length.image for length in lengths] == [5 * wide for wide in (2, 3, 4, 5, 6, 7, 5, 2, 3)]
    remembered = measure._lengths._replaced
    assert remembered.cache_info().maxsize == 4 == remembered.cache_info().currsize
    kept = [remembered((rows[i].images[0].size,)) for i in (5, 3, 0, 1)]
    assert {image.text.count("<|image_pad|>") for images in kept for image in images} == {1}
