"""How many tokens the sampler's cache may hold: on a GPU what its free memory has room for."""

import torch
from transformers import PreTrainedConfig

from vlm_rl.models.policy import Policy

SHARE = 0.7  # of what is free; the rest is for the states of a step and its scores over the vocabulary


def room_of(policy: Policy) -> int | None:
    """Tokens; None where nothing limits them. A power of two, so that a run that goes on has the room that it had before."""
    if policy.device.type != "cuda" or not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info(policy.device)
    unused = torch.cuda.memory_reserved(policy.device) - torch.cuda.memory_allocated(policy.device)  # held by torch's allocator
    return room_within(free + unused, of_a_token=bytes_of_a_token(policy))


def room_within(free_bytes: int, *, of_a_token: int) -> int:
    """The largest power of two of tokens that fits into the share that is the cache's; at least one."""
    return int(2 ** (max(1, int(SHARE * free_bytes) // of_a_token).bit_length() - 1))


def bytes_of_a_token(policy: Policy) -> int:
    """Keys and values of one token in all layers, as the config tells; layers that keep less are counted in full."""
    text: PreTrainedConfig = policy.vlm.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    dimension = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    dtype = policy.precision.autocast_to or policy.vlm.dtype
    return int(2 * text.num_hidden_layers * heads * dimension * dtype.itemsize)
