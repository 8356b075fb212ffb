import math

import pytest
import torch
from trajectories import bare

from vlm_rl.algorithms.groups import group_normalised, leave_one_out
from vlm_rl.algorithms.grpo import GroupRelativePolicyOptimization
from vlm_rl.algorithms.rollout_correction import NoCorrection


def grpo(**changes: object) -> GroupRelativePolicyOptimization:
    settings: dict[str, object] = {
        "group_size": 2,
        "num_minibatches": 1,
        "ppo_epochs": 1,
        "learning_rate_scale": 1.0,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "kl_loss_coef": 0.04,
        "kl_loss_estimator": "k3",
        "scale_by": "group",
        "std_epsilon": 0.0,
        "loss_average": "response",
        "mask_truncated": False,
        "rollout_correction": NoCorrection(),
        "dynamic_sampling": None,
    }
    return GroupRelativePolicyOptimization(**settings | changes)  # type: ignore[arg-type]


def test_scores_are_compared_within_their_group_whatever_the_order() -> None:
    scores, groups = torch.tensor([1.0, 5.0, 0.0, 5.0, 2.0]), torch.tensor([3, 9, 3, 9, 3])
    by_hand = [0.0, 0.0, -1.0, 0.0, 1.0]  # std of 0, 1, 2 is 1
    for scale_by in ("group", "none"):
        assert group_normalised(scores, groups, scale_by=scale_by, std_epsilon=0.0).tolist() == by_hand
    assert group_normalised(scores, groups, scale_by="group", std_epsilon=1.0).tolist() == [0.0, 0.0, -0.5, 0.0, 0.5]
    batch = group_normalised(scores, groups, scale_by="batch", std_epsilon=0.0)  # 1, 5, 0, 5, 2: mean 2.6, squares 21.2 over 4
    assert batch.tolist() == pytest.approx([0.0, 0.0, -1 / math.sqrt(5.3), 0.0, 1 / math.sqrt(5.3)])


def test_the_others_of_a_group_are_the_baseline_of_each() -> None:
    scores, groups = torch.tensor([1.0, 5.0, 0.0, 5.0, 2.0]), torch.tensor([3, 9, 3, 9, 3])
    assert leave_one_out(scores, groups).tolist() == [0.0, 0.0, -1.5, 0.0, 1.5]


def test_every_token_of_a_response_has_its_advantage() -> None:
    trajectory = bare([2, 1, 2, 2], scores=[1.0, 0.0, 0.3, 0.3], indices=[4, 5, 0, 1])
    half = 1 / math.sqrt(2)  # scores 1 and 0: mean 0.5, standard deviation 0.7071
    advantages = grpo().advantages(trajectory)
    assert advantages[0].tolist() == pytest.approx([half, half])
    assert advantages[1].tolist() == pytest.approx([-half, 0.0])
    assert advantages[2:].eq(0).all()


def test_a_group_of_one_is_an_error_that_names_the_least() -> None:
    with pytest.raises(ValueError, match=r"set algorithm.group_size=2 or more"):
        grpo(group_size=1)
