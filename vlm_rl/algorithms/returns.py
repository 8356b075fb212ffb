"""Rewards of tokens and their discounted sums."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_rl.types import Mask, Tokens, Trajectory


def last_token(mask: Mask) -> Mask:
    """True at the last token of each response; nowhere in an empty one."""
    remaining = mask.flip(-1).long().cumsum(-1).flip(-1)
    return mask & (remaining == 1)


def score_at_eos(scores: Float[Tensor, " batch"], mask: Mask, *, terminated: Bool[Tensor, " batch"]) -> Tokens:
    """Eq. 1: the score is the reward of the EOS token; a response that was cut off before EOS gets none."""
    return last_token(mask) * (scores * terminated)[:, None]


def score_at_last_token(scores: Float[Tensor, " batch"], mask: Mask, *, terminated: Bool[Tensor, " batch"]) -> Tokens:
    """The authors' code: the score at the last token, whether it ended the response or not."""
    return last_token(mask) * scores[:, None]


ScorePlace = Literal["eos", "last_token"]


def token_rewards(trajectory: Trajectory, *, score_at: ScorePlace) -> Tokens:
    """The score of each response as a reward of one of its tokens."""
    place = score_at_eos if score_at == "eos" else score_at_last_token
    return place(trajectory.scores, trajectory.response_mask, terminated=trajectory.terminated)


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
