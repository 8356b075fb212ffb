"""How far the engine that samples is from the trainer, from responses whose log-probability both have said.

Names as others have them (TRL sampling/*, verl rollout_corr/*), in our form; docs/rollout_correction.md says how to read them.
"""

import math

import torch
from torch import Tensor

from vlm_rl.algorithms.kl import k3
from vlm_rl.algorithms.rollout_correction import Level, RolloutCorrection, importance_ratio
from vlm_rl.masking import pooled, pooled_max, pooled_mean
from vlm_rl.types import Mask, Tokens, Trajectory


def engine_metrics(trajectory: Trajectory, *, correction: RolloutCorrection) -> dict[str, float]:
    """Over all tokens of all ranks; nothing where the trainer's own log-probabilities were not asked for."""
    if trajectory.old_logprobs is None:
        return {}
    engine, trainer, mask = trajectory.engine_logprobs, trajectory.old_logprobs, trajectory.response_mask
    log_ratio = trainer - engine
    ratio = importance_ratio(log_ratio, mask, level="token")
    metrics = {
        "rollout/logprob_difference_mean": pooled_mean(log_ratio.abs(), mask),
        "rollout/logprob_difference_max": _largest(log_ratio.abs(), mask),
        "rollout/importance_ratio_mean": pooled_mean(ratio, mask),
        "rollout/importance_ratio_min": -_largest(-ratio, mask),
        "rollout/importance_ratio_max": _largest(ratio, mask),
        "rollout/kl": pooled_mean(k3(engine.double(), trainer.double()), mask),  # KL(engine || trainer): the engine drew
        "rollout/effective_sample_share": _effective_share(importance_ratio(log_ratio, mask, level="sequence"), mask),
    }
    weights, level = trajectory.rollout_weights, correction.level
    if weights is not None and level != "none":
        metrics["rollout/weight_mean"] = pooled_mean(weights, mask)
        raw = importance_ratio(log_ratio, mask, level=level)
        metrics["rollout/corrected_share"] = _corrected_share(weights != raw, mask, level=level)
    return metrics


def _corrected_share(is_corrected: Mask, mask: Mask, *, level: Level) -> float:
    """Share of the tokens, or of the responses, whose weight is not their ratio: truncated or masked."""
    if level == "token":
        return pooled_mean(is_corrected.double(), mask)
    return pooled_mean(is_corrected.any(1).double(), mask.any(1))


def _effective_share(ratio: Tokens, mask: Mask) -> float:
    """Kish's effective sample size, (sum w)^2 / sum w^2 over the one weight of each response, as a share of the responses."""
    weights = ratio.double()[mask & (mask.cumsum(1) == 1)]  # at the first token of each: all of a response hold the same
    sums = torch.stack([weights.sum(), weights.square().sum(), weights.new_tensor(len(weights))])
    total, squares, count = pooled(sums).tolist()
    return total**2 / (squares * count) if count else math.nan


def _largest(values: Tensor, mask: Tensor) -> float:
    """Over the mask of all ranks, some of which may hold nothing; NaN where none holds anything."""
    found = float(pooled_max(torch.cat([values[mask], values.new_full((1,), -math.inf)]).max()))
    return found if found > -math.inf else math.nan
