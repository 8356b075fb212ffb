"""Rows that a model's own processor cannot take are bad rows with an id and a reason; what is remembered of sizes has a bound."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.utils import instantiate
from PIL import Image
from transformers import ProcessorMixin

from vlm_rl.commands.build import composed
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.row import Row
from vlm_rl.models import prompts
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.pictures import Cache, look_at, named
from vlm_rl.preflight.rows import Rules, SplitCheck, check_split


@pytest.fixture(scope="module")
def processor() -> ProcessorMixin:
    return load_processor("tiny", {})


@pytest.fixture(scope="module")
def measure(processor: ProcessorMixin) -> Prompts:
    """Qwen2.5-VL's processor over a data set with the question as the whole prompt."""
    dataset: Dataset = instantiate(composed(["dataset=micro_geometry", "dataset.prompt='{question}'"]).dataset)
    return Prompts(processor=processor, dataset=dataset)


def row(name: str, *, question: str = "Q", image: Path | None = None) -> Row:
    """A row with a picture or without."""
    images = () if image is None else (picture_file(image),)
    return Row(id=name, question="<image>" * len(images) + question, answer="7", solution=None, images=images)


def check(rows: Sequence[Row], prompts: Prompts) -> SplitCheck:
    """Without a limit, without a judge."""
    looked = look_at(named(image for row in rows for image in row.images), decode="all", cache=Cache(folder=None))
    rules = Rules(
        looked=looked,
        unfit_golds=frozenset(),
        special_tokens=prompts.special_tokens,
        prompts=prompts,
        max_prompt_tokens=10_000,
        needs_solutions=False,
        solution_tokens=None,
    )
    return check_split(rows, split="train", rules=rules, num_checked=None)


def test_a_picture_too_long_for_the_family_is_that_row_s_problem_only(measure: Prompts, tmp_path: Path) -> None:
    """Qwen takes no picture 200 times as wide as it is high; 56 x 56 pixels are four tokens."""
    for name, size in (("wide", (3_000, 10)), ("good", (56, 56))):
        Image.new("L", size).save(tmp_path / f"{name}.png")
    found = check([row("a", image=tmp_path / "good.png"), row("odd", image=tmp_path / "wide.png"), row("b")], measure)
    (problem,) = found.problems
    assert problem.row_id == "odd"
    assert "absolute aspect ratio must be smaller than 200" in problem.message
    assert (found.ids, found.image_tokens.tolist()) == (("a", "b"), [4, 0])


def test_text_that_no_encoding_takes_is_that_row_s_problem_only(measure: Prompts) -> None:
    found = check([row("a"), row("half", question="x \ud835"), row("b")], measure)
    assert [problem.row_id for problem in found.problems] == ["half"]
    assert found.ids == ("a", "b")


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|vision_start|>", "<|im_end|>"])
def test_a_token_that_means_more_than_text_is_found_in_a_question(measure: Prompts, token: str) -> None:
    found = check([row("a"), row("odd", question=f"what does {token} mean?")], measure)
    (problem,) = found.problems
    assert problem.row_id == "odd"
    assert token in problem.message


def test_special_tokens_are_those_of_tokenizer_and_processor(measure: Prompts) -> None:
    assert {"<|image_pad|>", "<|video_pad|>", "<|im_start|>", "<|endoftext|>"} <= measure.special_tokens
    assert not measure.special_tokens & {"<image>", "a"}


@pytest.mark.parametrize("way", ["lengths", "process"])
def test_a_token_of_an_image_in_a_text_is_told_with_the_row_and_no_stop_iteration(
    measure: Prompts, tmp_path: Path, way: str
) -> None:
    Image.new("L", (56, 56)).save(tmp_path / "good.png")
    odd = row("odd", question="what does <|image_pad|> mean?", image=tmp_path / "good.png")
    with pytest.raises(ValueError, match=r"row 'odd' has 1 images, but 2 times <\|image_pad\|> in its prompt"):
        measure.lengths([odd]) if way == "lengths" else measure.process(odd)


def test_what_is_remembered_of_sizes_has_a_bound_and_no_long_runs(
    measure: Prompts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """28 to 140 pixels in each direction: 1 to 5 tokens each way; of those used last four are kept, a token for each run."""
    monkeypatch.setattr(prompts, "KEPT", 4)
    measure = Prompts(processor=measure._processor, dataset=measure._dataset)
    rows = []
    for i in range(6):
        Image.new("L", (56 + 28 * i, 140)).save(tmp_path / f"{i}.png")
        rows.append(row(str(i), image=tmp_path / f"{i}.png"))
    lengths = measure.lengths([*rows, rows[3], *rows[:2]])
    assert [length.image for length in lengths] == [5 * wide for wide in (2, 3, 4, 5, 6, 7, 5, 2, 3)]
    assert measure._expanded.cache_info()[:4] == (1, 8, 4, 4)  # hits, misses, at most, kept
    kept = [measure._expanded((rows[i].images[0].size,)) for i in (5, 3, 0, 1)]
    assert measure._expanded.cache_info().hits == 5
    assert {image.text.count("<|image_pad|>") for images in kept for image in images} == {1}
