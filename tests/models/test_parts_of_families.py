"""Vision, connector and language of many families, built without weights; the expected paths are written down by hand."""

import functools

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from vlm_rl.models.parts import find_parts, is_tied

TOWER, LANGUAGE = {"model.vision_tower.": "vision"}, {"model.language_model.": "language", "lm_head.": "language"}
PROJECTOR = {"model.multi_modal_projector.": "connector"}
QWEN = {"model.visual.": "vision", "model.visual.merger.": "connector", **LANGUAGE}
LLAVA = {**TOWER, **PROJECTOR, **LANGUAGE}
IDEFICS = {
    "model.vision_model.": "vision",
    "model.connector.": "connector",
    "model.text_model.": "language",
    "lm_head.": "language",
}
PARTS_BY_PREFIX = {
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN | {"model.visual.deepstack_merger_list.": "connector"},
    "qwen3_vl_moe": QWEN | {"model.visual.deepstack_merger_list.": "connector"},
    "glm4v": QWEN,
    "gemma3": LLAVA,
    "paligemma": LLAVA,
    "internvl": LLAVA,
    "llava": LLAVA,
    "llava_next": LLAVA | {"model.image_newline": "connector"},
    "llava_onevision": LLAVA | {"model.image_newline": "connector"},
    "mistral3": LLAVA,
    "kimi_k25": TOWER | {"model.mm_projector.": "connector"} | LANGUAGE,
    "smolvlm": IDEFICS,
    "idefics2": IDEFICS,
    "idefics3": IDEFICS,
    "lfm2_vl": LLAVA,
    "qwen2_5_omni_thinker": QWEN | {"model.audio_tower.": "vision"},  # another sense; frozen together with the eyes
}


def shallow(config: PreTrainedConfig) -> None:
    """Two layers are enough to see where things lie."""
    for key in ("num_hidden_layers", "depth", "layer_types"):
        found = getattr(config, key, None)
        if isinstance(found, int) or (key == "layer_types" and found):
            setattr(config, key, found[:2] if key == "layer_types" else 2)
    for name in config.sub_configs:
        shallow(getattr(config, name))


@functools.cache
def weightless(family: str) -> PreTrainedModel:
    config = AutoConfig.for_model(family)
    shallow(config)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


@pytest.mark.slow
@pytest.mark.parametrize("family", PARTS_BY_PREFIX)
def test_every_parameter_belongs_to_the_part_that_a_person_would_say(family: str) -> None:
    expected, vlm = PARTS_BY_PREFIX[family], weightless(family)
    parts, met = find_parts(vlm), set()
    for name, _ in vlm.named_parameters(remove_duplicate=False):
        prefix = max((prefix for prefix in expected if name.startswith(prefix)), key=len)
        assert parts.part_of(name) == expected[prefix], name
        met.add(prefix)
    assert met == set(expected)  # every line of the table above was needed
    assert {expected[prefix] for prefix in met} == {"vision", "connector", "language"}


def test_the_vision_mlps_of_qwen_have_the_language_mlps_names_and_are_not_language() -> None:
    vlm = weightless("qwen2_5_vl")
    names = [path for path, _ in vlm.named_modules() if path.endswith("mlp.gate_proj")]
    assert [find_parts(vlm).part_of(name) for name in names].count("vision") == 2
    assert [find_parts(vlm).part_of(name) for name in names].count("language") == 2


def test_tied_and_untied_heads_are_told_apart() -> None:
    assert is_tied(weightless("gemma3"))
    assert not is_tied(weightless("qwen2_5_vl"))


def test_a_model_that_cannot_see_is_refused_by_its_class() -> None:
    config = AutoConfig.for_model("qwen2", num_hidden_layers=1)
    with torch.device("meta"):
        blind = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match=r"Qwen2ForCausalLM: no vision part is found; its submodules are embed_tokens, layers"):
        find_parts(blind)


def test_patches_that_go_straight_into_the_decoder_are_no_vision_part() -> None:
    with pytest.raises(ValueError, match=r"FuyuForCausalLM: no vision part is found; .* vision_embed_tokens"):
        find_parts(weightless("fuyu"))
