"""Estimators of KL(policy, reference) from one sampled token. Derivation: http://joschu.net/blog/kl-approx.html

With r = ref / pi at a token that pi sampled. As a value, k1 and k3 are unbiased and k2 is not; as a loss that is differentiated,
the mean gradient of k1 is zero, that of k2 is the gradient of KL(pi, ref), and that of k3 is the gradient of KL(ref, pi).
"""

from typing import Literal

from vlm_rl.types import Tokens, Trajectory

KlEstimator = Literal["k1", "k2", "k3"]
LOG_RATIO_LIMIT = 20.0  # nats; the log-ratio is clamped, never the mean


def k1(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """-log r: unbiased, high variance, the one to use inside a reward."""
    return logprobs - ref_logprobs


def k2(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """(log r)^2 / 2: never negative, biased as a value, with the right gradient as a loss."""
    return (ref_logprobs - logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).square() / 2


def k3(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """r - log r - 1: never negative, unbiased as a value; the paper's KL loss."""
    d = (ref_logprobs - logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return d.exp() - d - 1


KL_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def sampled_kl(trajectory: Trajectory, *, estimator: KlEstimator) -> Tokens:
    """KL(old policy, reference) at each sampled token, a number that is not differentiated, as a reward takes it; 0 off the mask."""
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    return KL_ESTIMATORS[estimator](trajectory.old_logprobs, trajectory.ref_logprobs) * trajectory.response_mask
