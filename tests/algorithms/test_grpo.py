"""What is compared within a group, and the two simplest averages, by hand."""

import math

import pytest
import torch
from every_algorithm import algorithm
from trajectories import bare, learning, random_logprobs

from vlm_rl.algorithms.groups import group_normalised, leave_one_out

SCORES, GROUPS = torch.tensor([1.0, 5.0, 0.0, 5.0, 2.0]), torch.tensor([3, 9, 3, 9, 3])


def test_scores_are_compared_within_their_group_whatever_the_order() -> None:
    by_hand = [0.0, 0.0, -1.0, 0.0, 1.0]  # std of 0, 1, 2 is 1
    for scale_by in ("group", "none"):
        assert group_normalised(SCORES, GROUPS, scale_by=scale_by, std_epsilon=0.0).tolist() == by_hand
    assert group_normalised(SCORES, GROUPS, scale_by="group", std_epsilon=1.0).tolist() == [0.0, 0.0, -0.5, 0.0, 0.5]
    batch = group_normalised(SCORES, GROUPS, scale_by="batch", std_epsilon=0.0)  # 1, 5, 0, 5, 2: mean 2.6, squares 21.2 over 4
    assert batch.tolist() == pytest.approx([0.0, 0.0, -1 / math.sqrt(5.3), 0.0, 1 / math.sqrt(5.3)])
    assert leave_one_out(SCORES, GROUPS).tolist() == [0.0, 0.0, -1.5, 0.0, 1.5]


def test_every_token_of_a_response_has_its_advantage() -> None:
    trajectory = bare([2, 1, 2, 2], scores=[1.0, 0.0, 0.3, 0.3], indices=[4, 5, 0, 1])
    half = 1 / math.sqrt(2)  # scores 1 and 0: mean 0.5, standard deviation 0.7071
    advantages = algorithm("grpo", group_size=2).advantages(trajectory)
    assert advantages[0].tolist() == pytest.approx([half, half])
    assert advantages[1].tolist() == pytest.approx([-half, 0.0])
    assert advantages[2:].eq(0).all()


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_a_group_of_one_is_an_error_that_names_the_fewest(name: str) -> None:
    with pytest.raises(ValueError, match=r"set algorithm.group_size=2 or more"):
        algorithm(name, group_size=1)


def test_supervised_fine_tuning_is_the_mean_over_all_tokens_and_not_over_responses() -> None:
    sft = algorithm("sft")
    batch = learning(sft, bare([1, 4], scores=[0.0, 0.0]))
    logprobs = random_logprobs(batch, seed=0)
    torch.testing.assert_close(sft.loss(logprobs, batch).loss, -logprobs[batch.response_mask].mean())
    assert not (sft.needs_old_logprobs or sft.needs_reference or sft.learns_from_own_responses)
