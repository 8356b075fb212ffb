import re

import pytest

from vlm_rl.models.config_keys import as_model_attention
from vlm_rl.models.loading import load_pretrained


@pytest.mark.parametrize("attention", ["flash_attention_2", "spda"])
def test_an_attention_that_is_not_there_is_an_error_with_the_key_and_the_way_out(attention: str) -> None:
    message = rf"model.attention={attention} cannot be used here: .* model.attention=sdpa needs nothing"
    with pytest.raises(ValueError, match=message), as_model_attention(attention):
        load_pretrained("tiny", dtype="float32", attention=attention)


@pytest.mark.parametrize(
    "about",
    ["another thing", "hidden_size must be divisible by num_attention_heads (got 63 and 4).", "attention_bias=3 is no bool"],
)
def test_other_errors_pass_as_they_are(about: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(about)}$"), as_model_attention("sdpa"):
        raise ValueError(about)


@pytest.mark.parametrize(
    "about",
    [
        "FlashAttention2 has been toggled on, but it cannot be used: the package doesn't seem to be installed.",
        "Requested Flash Attention 5 which is not supported.",
        "Gemma does not support an attention implementation through torch.nn.functional.scaled_dot_product_attention yet.",
        "Gemma does not support an attention implementation through torch's flex_attention.",
    ],
)
def test_what_transformers_says_of_an_implementation_is_told_with_the_key(about: str) -> None:
    with pytest.raises(ValueError, match=r"^model.attention=sdpa cannot be used here"), as_model_attention("sdpa"):
        raise ValueError(about)
