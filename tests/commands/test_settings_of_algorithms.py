"""Settings of one algorithm that make no sense are errors that name the key and something that does."""

import re
from dataclasses import replace
from functools import cache

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from refusing import checked

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import composed


@cache
def shipped(name: str) -> Algorithm:
    """As `algorithm=NAME` alone builds it."""
    return checked(composed([f"algorithm={name}"]))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("grpo", "group_size", 0),
        ("grpo", "num_minibatches", 0),
        ("grpo", "ppo_epochs", 0),
        ("grpo", "learning_rate_scale", -1.0),
        ("grpo", "kl_loss_coef", -0.1),
        ("grpo", "std_epsilon", -1e-4),
        ("grpo", "clip_low", 1.1),
        ("dapo", "clip_low", -0.1),
        ("dapo", "clip_high", -0.1),
        ("dapo", "clip_high", float("nan")),
        ("dapo", "std_epsilon", -1e-4),
        ("gspo", "std_epsilon", -1e-4),
        ("dr_grpo", "loss_length", 0),
        ("rloo", "kl_reward_coef", -0.1),
        ("reinforce_pp", "kl_reward_coef", -0.1),
        ("reinforce_pp", "gamma", 1.5),
    ],
)
def test_a_value_out_of_range_is_named_with_one_that_is_in_range(name: str, key: str, value: object) -> None:
    algorithm = shipped(name)
    with pytest.raises(ValueError, match=re.escape(f"algorithm.{key}={value}; it is ")) as caught:
        replace(algorithm, **{key: value})  # type: ignore[arg-type]
    example = str(caught.value).rpartition(f"For example algorithm.{key}=")[2].rstrip(".")
    in_range = OverridesParser.create().parse_override(f"algorithm.{key}={example}").value()
    assert getattr(replace(algorithm, **{key: in_range}), key) == in_range  # type: ignore[arg-type]
