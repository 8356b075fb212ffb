import pytest

from vlm_rl.models.attention import as_model_attention
from vlm_rl.models.loading import load_pretrained


@pytest.mark.parametrize("attention", ["flash_attention_2", "spda"])
def test_an_attention_that_is_not_there_is_an_error_with_the_key_and_the_way_out(attention: str) -> None:
    message = rf"model.attention={attention} cannot be used here: .* model.attention=sdpa needs nothing"
    with pytest.raises(ValueError, match=message), as_model_attention(attention):
        load_pretrained("tiny", dtype="float32", attention=attention)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"^another thing$"), as_model_attention("sdpa"):
        raise ValueError("another thing")
