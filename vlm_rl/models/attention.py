"""Which attention a model computes with: a name that Transformers cannot serve becomes an error of our own keys."""

import contextlib
import re
from collections.abc import Iterator

_ABOUT_IT = re.compile(
    r"attn_implementation|attention implementation|(flash|flex)[_ ]?att|scaled_dot_product|sdpa", re.IGNORECASE
)


@contextlib.contextmanager
def as_model_attention(attention: str) -> Iterator[None]:
    """Around the building of a model: what is not installed, or not made for this model, is told with the way out."""
    try:
        yield
    except (ImportError, ValueError) as error:
        about = str(error)
        if not _ABOUT_IT.search(about):  # num_attention_heads and the like are about the config
            raise
        raise ValueError(
            f"model.attention={attention} cannot be used here: {' '.join(about.split())} "
            "model.attention=sdpa needs nothing installed; eager works with every model."
        ) from error
