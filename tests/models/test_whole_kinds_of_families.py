"""Kinds of families that went wrong in silence or with a riddle: logits of their own, towers that give more, parts that are missing."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families.build import build as build_family
from families.trials import forced, settings_of, with_features
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.commands.build import build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models.attention import by_config, portable
from vlm_rl.models.family import banned_ids, check_class, head_of, hold_statistics
from vlm_rl.models.loading import load_config, load_processor, load_untrained
from vlm_rl.models.parts import find_parts, sizes
from vlm_rl.models.small_copy import make_loud, shrunk

OWN_LOGITS = (
    "muse_glimmer",
    "inkling_mm_model",
    "aya_vision",
    "cohere2_vision",
    "gemma3",
    "qwen2_5_vl",
    "hyperclovax_vision_v2",
)
REFUSED = {  # a class -> words of the sentence
    "llama4": "no part `model` below an output embedding",
    "blip": "no part `model` below an output embedding",
    "git": "no part `model` below an output embedding",
    "kosmos-2": "no part `model` below an output embedding",
    "florence2": "an encoder with a decoder",
    "t5gemma2": "an encoder with a decoder",
    "vision-encoder-decoder": "an encoder with a decoder",
}


def small(family: str) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForImageTextToText.from_config(shrunk(AutoConfig.for_model(family))).eval()
    make_loud(model)
    return model


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("family", OWN_LOGITS)
def test_logits_of_hidden_states_are_those_of_the_whole_forward(family: str) -> None:
    model, ids = small(family), torch.arange(5, 17)[None]
    hidden = model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    torch.testing.assert_close(head_of(model)(hidden), model(input_ids=ids).logits[0], atol=0, rtol=0)


def test_the_tail_sees_an_adapted_head_and_a_copied_model() -> None:
    model = small("qwen2_5_vl")
    other, hidden = copy.deepcopy(model), torch.randn(3, model.get_output_embeddings().weight.shape[1])
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(2)
    assert torch.equal(head_of(other)(hidden), head_of(model)(hidden) * 2)
    model.set_output_embeddings(nn.Sequential(model.get_output_embeddings(), nn.ReLU()))
    assert head_of(model)(hidden).min() == 0


@pytest.mark.slow
@pytest.mark.parametrize("family", REFUSED)
def test_a_class_of_another_build_is_refused_in_one_sentence(family: str) -> None:
    config = AutoConfig.for_model(family) if family != "vision-encoder-decoder" else two_halves()
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    with pytest.raises(
        ValueError, match=rf"model.name=m is a {type(model).__name__}, which cannot be trained here: .*{REFUSED[family]}"
    ):
        check_class(model, name="m")


def two_halves() -> AutoConfig:
    from transformers import GPT2Config, VisionEncoderDecoderConfig, ViTConfig

    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(num_hidden_layers=1), GPT2Config(n_layer=1))


@pytest.mark.slow
def test_a_tower_that_gives_more_than_can_be_handed_back_gets_pixels_and_the_line_says_so(
    family_folder: Callable[[str], Path], mixed_rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    for family in ("granite4_vision", "ovis2"):
        experiment = build(composed(settings_of(family, family_folder(family))))
        experiment.reward.close()
        policy, pixels = experiment.policy, forced(experiment, mixed_rows)
        encoded = with_features(experiment, pixels)
        assert not policy.encodes_images_once
        assert all(images is None or images.features is None for images in encoded.images)
        assert "The vision cache is off: " in capsys.readouterr().out
        assert torch.equal(policy.statistics(encoded).logprobs, policy.statistics(pixels).logprobs)


@pytest.mark.slow
def test_a_model_without_an_encoder_is_all_connector_but_for_its_decoder(family_folder: Callable[[str], Path]) -> None:
    model = load_untrained(str(family_folder("gemma4_unified")), dtype="float32", attention="sdpa", root_seed=0)
    parts = find_parts(model)
    assert parts.vision == ()
    assert {parts.part_of(name) for name, _ in model.named_parameters()} == {"connector", "language"}
    assert [(size.state, size.total) for size in sizes(model) if size.part == "vision"] == [("none", 0)]


@pytest.mark.slow
def test_each_part_may_have_an_attention_of_its_own(family_folder: Callable[[str], Path]) -> None:
    folder = str(family_folder("gemma4"))
    with pytest.raises(
        ValueError, match=r"model.attention=sdpa cannot be used here: .* For this model type 'model.attention=\{audio: eager\}'"
    ):
        load_untrained(folder, dtype="float32", attention="sdpa", root_seed=0)
    model = load_untrained(folder, dtype="float32", attention={"audio": "eager"}, root_seed=0)
    words = [
        part._attn_implementation for part in (model.config.text_config, model.config.vision_config, model.config.audio_config)
    ]
    assert words == ["sdpa", "sdpa", "eager"]
    with pytest.raises(ValueError, match=r"model.attention names hearing; the parts .* are vision, audio, language"):
        by_config({"hearing": "eager"}, load_config(folder))
    assert portable({"language": "flash_attention_2", "audio": "eager"}) == {"language": "sdpa", "audio": "eager"}
    assert portable("flex_attention") == "sdpa"


def test_norms_with_running_statistics_stay_as_they_were_whoever_trains_what_is_around_them() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    inputs = torch.arange(15.0).reshape(5, 3)
    model.eval()(inputs).square().sum().backward()
    expected = model[0].weight.grad.clone()
    hold_statistics(model)
    for around in (nn.ModuleDict({"inner": model})["inner"], copy.deepcopy(model)):
        around.train()
        for _ in range(5):
            around.zero_grad()
            around(inputs).square().sum().backward()
        assert around.training and not around[1].training
        assert around[1].running_mean.tolist() == [0, 0, 0, 0] and int(around[1].num_batches_tracked) == 0
        torch.testing.assert_close(around[0].weight.grad, expected)


@pytest.mark.slow
def test_ids_in_lists_and_of_parts_are_never_written_and_those_that_end_a_response_always_may_be(tmp_path: Path) -> None:
    build_family("ovis2", tmp_path)
    processor = load_processor(str(tmp_path), {})
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    banned = banned_ids(model, processor)
    frame = processor.tokenizer.convert_tokens_to_ids(
        ["<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    )
    assert banned[frame].all() and not banned[:256].any()
    model.config.image_end_token_id = processor.tokenizer.eos_token_id  # one family frames its images by the end of a turn
    assert not banned_ids(model, processor)[processor.tokenizer.eos_token_id]
