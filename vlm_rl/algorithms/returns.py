"""Rewards of tokens and their discounted sums."""

from typing import Literal

import torch

from vlm_rl.types import Mask, Tokens, Trajectory

ScorePlace = Literal["eos", "last_token"]


def last_token(mask: Mask) -> Mask:
    """True at the last token of each response; nowhere in an empty one."""
    remaining = mask.flip(-1).long().cumsum(-1).flip(-1)
    return mask & (remaining == 1)


def token_rewards(trajectory: Trajectory, *, score_at: ScorePlace) -> Tokens:
    """The score of each response as the reward of its last token.

    "eos" (Eq. 1) rewards the EOS token, so a response that was cut off gets nothing; "last_token" (the authors' code) does not ask.
    """
    scores = trajectory.scores * trajectory.terminated if score_at == "eos" else trajectory.scores
    return last_token(trajectory.response_mask) * scores[:, None]


def discounted_returns(rewards: Tokens, *, gamma: float) -> Tokens:
    """R_t = sum over k >= t of gamma^(k-t) r_k; padding has reward 0 and lies to the right."""
    if gamma == 1.0:
        return rewards.flip(-1).cumsum(-1).flip(-1)
    returns = torch.zeros_like(rewards)
    following = rewards.new_zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        following = rewards[:, t] + gamma * following
        returns[:, t] = following
    return returns
