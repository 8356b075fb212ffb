"""Which attention a model computes with: a name that Transformers cannot serve becomes an error of our own keys."""

import contextlib
import re
from collections.abc import Iterator

_ABOUT_IT = re.compile(
    r"attn_implementation|attention implementation|(flash|flex)[_ ]?att|scaled_dot_product|sdpa", re.IGNORECASE
)


IMPLEMENTATIONS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")


@contextlib.contextmanager
def as_model_attention(attention: str) -> Iterator[None]:
    """Around the building of a model: what is not installed, or not made for this model, is told with the way out."""
    if attention not in IMPLEMENTATIONS:  # Transformers takes OWNER/NAME for a kernel of the hub, fetches it and runs it
        raise ValueError(
            f"model.attention={attention} cannot be used here: it is none of {', '.join(IMPLEMENTATIONS)}, and kernels of the hub are "
            "never fetched. model.attention=sdpa needs nothing installed; eager works with every model."
        )
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
