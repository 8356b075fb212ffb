"""model.chat_template: thinking on or off, in prompts and their lengths; names that a template does not read are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from families.trials import settings_of
from transformers import ProcessorMixin

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands.build import build, composed, plain
from vlm_rl.datasets.row import Row
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts
from vlm_rl.models.template_arguments import check_arguments, used_arguments

CLOSED = "<think>\n\n</think>\n\n"  # what Qwen3.5's template writes for a model that is not to think


@pytest.fixture(scope="module")
def thinking(family_folder: Callable[[str], Path]) -> ProcessorMixin:
    return load_processor(str(family_folder("qwen3_5")), {})


def test_only_names_that_the_template_reads_are_taken(thinking: ProcessorMixin) -> None:
    assert used_arguments(thinking) == {"enable_thinking"}
    assert used_arguments(load_processor("tiny", {})) == set()
    check_arguments(thinking, {"enable_thinking": False}, name="m")
    with pytest.raises(
        ValueError, match=r"model.chat_template.enable_thoughts: .* model.name=m does not read it. It reads enable_thinking"
    ):
        check_arguments(thinking, {"enable_thoughts": False}, name="m")
    with pytest.raises(ValueError, match=r"model.chat_template.add_generation_prompt is set by vlm-rl itself"):
        check_arguments(thinking, {"add_generation_prompt": False}, name="m")
    with pytest.raises(ValueError, match=r"enable_thinking=\{\} is no number, text"):
        check_arguments(thinking, {"enable_thinking": {}}, name="m")
    with pytest.raises(ValueError, match=r"It reads no arguments: leave model.chat_template empty"):
        check_arguments(load_processor("tiny", {}), {"enable_thinking": False}, name="tiny")


def test_prompts_and_their_lengths_follow(thinking: ProcessorMixin, mixed_rows: list[Row]) -> None:
    dataset = composed(["experiment=smoke"])
    experiment_dataset = build(dataset).dataset
    usual = Prompts(processor=thinking, dataset=experiment_dataset)
    off = Prompts(processor=thinking, dataset=experiment_dataset, chat_template={"enable_thinking": False})
    assert not usual.render(mixed_rows[0]).endswith(CLOSED) and off.render(mixed_rows[0]).endswith(CLOSED)
    for prompts in (usual, off):
        ids = [prompts.process(row)["input_ids"].shape[1] for row in mixed_rows]
        assert [length.total for length in prompts.lengths(mixed_rows)] == ids


@pytest.mark.slow
def test_a_policy_hands_them_to_its_prompts(family_folder: Callable[[str], Path], mixed_rows: list[Row]) -> None:
    words = settings_of("qwen3_5", family_folder("qwen3_5"))
    experiment = build(composed([*words, "+model.chat_template.enable_thinking=false"]))
    experiment.reward.close()
    assert experiment.encoder.prompts.render(mixed_rows[1]).endswith(CLOSED)


def test_an_empty_one_is_as_none_and_another_is_another_arm_and_another_vanilla_model() -> None:
    empty, off = plain(composed([])), plain(composed(["+model.chat_template.enable_thinking=false"]))
    older = empty | {"model": {key: value for key, value in empty["model"].items() if key != "chat_template"}}
    for hash_of in (arm_of, vanilla_of):
        assert hash_of(empty) == hash_of(older) != hash_of(off)
