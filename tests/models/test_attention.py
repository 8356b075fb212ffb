"""An attention that cannot be used is told with its key; other errors of building a model are about its config."""

import re

import pytest
from transformers import AutoConfig, PreTrainedConfig

from vlm_rl.models.config_keys import as_model_attention
from vlm_rl.models.loading import load_config, load_pretrained


@pytest.fixture(scope="module")
def tiny() -> PreTrainedConfig:
    return load_config("tiny")


@pytest.mark.parametrize("attention", ["flash_attention_2", "spda", "evil/kernel", "paged|evil/kernel"])
def test_an_attention_that_is_not_there_is_an_error_with_the_key_and_the_way_out(attention: str) -> None:
    message = rf"model.attention={re.escape(attention)} cannot be used here: .* model.attention=sdpa needs nothing"
    with pytest.raises(ValueError, match=message):
        load_pretrained("tiny", dtype="float32", attention=attention)


def test_an_error_of_a_model_that_can_be_built_with_this_attention_passes_as_it_is(tiny: PreTrainedConfig) -> None:
    with pytest.raises(ValueError, match=r"^another thing$"), as_model_attention("sdpa", tiny):
        raise ValueError("another thing")


def test_an_error_of_a_config_that_no_attention_builds_passes_as_it_is() -> None:
    odd = AutoConfig.for_model("internvl")
    odd.vision_config.hidden_size = 63
    with pytest.raises(ValueError, match=r"^not divisible$"), as_model_attention("flash_attention_2", odd):
        raise ValueError("not divisible")
