import torch
from trajectories import bare, random_logprobs

from vlm_rl.algorithms.sft import SupervisedFineTuning


def test_the_loss_is_the_mean_over_all_tokens_and_not_over_responses() -> None:
    algorithm = SupervisedFineTuning(group_size=1, num_minibatches=8, ppo_epochs=1, learning_rate_scale=2.0)
    trajectory = bare([1, 4], scores=[0.0, 0.0], weights=torch.full((2, 4), 0.2))
    logprobs = random_logprobs(trajectory, seed=0)
    result = algorithm.loss(logprobs, trajectory, algorithm.advantages(trajectory))
    torch.testing.assert_close(result.loss, -logprobs[trajectory.response_mask].mean())
    torch.testing.assert_close(
        algorithm.token_weights(trajectory.response_mask)[trajectory.response_mask], torch.full((5,), 0.2)
    )


def test_it_asks_for_neither_old_policy_nor_reference() -> None:
    algorithm = SupervisedFineTuning(group_size=1, num_minibatches=8, ppo_epochs=1, learning_rate_scale=2.0)
    assert not algorithm.needs_old_logprobs
    assert not algorithm.needs_reference
    assert not algorithm.learns_from_own_responses
