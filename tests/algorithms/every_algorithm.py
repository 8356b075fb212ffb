"""The shipped algorithms by name, as conf/algorithm/*.yaml sets them, for tests that hold for all of them."""

from dataclasses import replace
from functools import cache

from hydra.utils import instantiate

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import composed

BY_GROUP = ("grpo", "dr_grpo", "dapo", "gspo", "rloo", "reinforce_pp_baseline")  # each group is its own baseline
POLICY_GRADIENTS = (*BY_GROUP, "reinforce_pp")
EVERY = (*POLICY_GRADIENTS, "sft")


@cache
def shipped(name: str) -> Algorithm:
    """As `algorithm=NAME` alone builds it."""
    algorithm: Algorithm = instantiate(composed([f"algorithm={name}"]).algorithm)
    return algorithm


def algorithm(name: str, **changes: object) -> Algorithm:
    """The shipped one with other settings, each under the name of its config key."""
    return replace(shipped(name), **changes)  # type: ignore[arg-type]


def without_kl(name: str, **changes: object) -> Algorithm:
    """What the scores alone do: KL terms in loss and reward are off."""
    off = {key: 0.0 for key in ("kl_loss_coef", "kl_reward_coef") if hasattr(shipped(name), key)}
    return algorithm(name, **off | changes)
