"""How the trainable parameters are moved: AdamW, linear warm-up, then cosine; the batch that fits into memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Settings that belong to a model: what it tolerates and what fits."""

    learning_rate: float
    betas: Sequence[float]  # decay of the first and of the second moment
    weight_decay: float
    warmup_share: float  # of all gradient steps
    final_share: float  # of the learning rate, where the cosine ends
    max_grad_norm: float
    micro_batch_tokens: int  # tokens, padding included, of one forward with gradients
    forward_batch_tokens: int  # the same without gradients

    def optimizer(self, parameters: list[nn.Parameter], *, scale: float) -> torch.optim.AdamW:
        """AdamW over what is trained; `scale` is the algorithm's factor on the learning rate."""
        return torch.optim.AdamW(
            parameters, lr=self.learning_rate * scale, betas=(self.betas[0], self.betas[1]), weight_decay=self.weight_decay
        )

    def schedule(self, optimizer: torch.optim.Optimizer, *, num_updates: int) -> LambdaLR:
        """Warm-up over `warmup_share` of the updates, then a cosine down to `final_share`."""
        warmup = max(1, round(self.warmup_share * num_updates))

        def factor(update: int) -> float:
            if update < warmup:
                return (update + 1) / warmup
            progress = min(1.0, (update - warmup) / max(1, num_updates - warmup))
            return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))

        return LambdaLR(optimizer, factor)
