"""Estimators of KL(policy, reference) for one sampled token. Derivation: http://joschu.net/blog/kl-approx.html"""

from vlm_rl.types import Tokens

LOG_RATIO_LIMIT = 20.0  # nats; the log-ratio is clamped, never the mean


def k1(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """log pi - log ref: unbiased, high variance, the one to use inside a reward."""
    return logprobs - ref_logprobs


def k3(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """exp(d) - d - 1 with d = log ref - log pi: never negative, unbiased for the value; the paper's KL loss."""
    d = (ref_logprobs - logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return d.exp() - d - 1
