import torch

from vlm_rl.algorithms.returns import discounted_returns, last_token


def test_the_last_token_is_found_whatever_the_padding() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False], [True, False, False]])
    assert last_token(mask).nonzero().tolist() == [[0, 1], [1, 2], [3, 0]]


def test_returns_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
    assert discounted_returns(rewards, gamma=0.5).tolist() == [[2.0, 2.0, 4.0], [1.0, 2.0, 0.0]]
    assert discounted_returns(rewards, gamma=1.0).tolist() == [[5.0, 4.0, 4.0], [2.0, 2.0, 0.0]]
