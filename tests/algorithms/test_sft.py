import torch
from trajectories import bare, learning, random_logprobs

from vlm_rl.algorithms.sft import SupervisedFineTuning


def test_the_loss_is_the_mean_over_all_tokens_and_not_over_responses() -> None:
    algorithm = SupervisedFineTuning(group_size=1, num_minibatches=8, ppo_epochs=1, learning_rate_scale=2.0)
    batch = learning(algorithm, bare([1, 4], scores=[0.0, 0.0]))
    logprobs = random_logprobs(batch, seed=0)
    torch.testing.assert_close(algorithm.loss(logprobs, batch).loss, -logprobs[batch.response_mask].mean())
    torch.testing.assert_close(batch.token_weights[batch.response_mask], torch.full((5,), 0.2))


def test_it_asks_for_neither_old_policy_nor_reference() -> None:
    algorithm = SupervisedFineTuning(group_size=1, num_minibatches=8, ppo_epochs=1, learning_rate_scale=2.0)
    assert not algorithm.needs_old_logprobs
    assert not algorithm.needs_reference
    assert not algorithm.learns_from_own_responses
