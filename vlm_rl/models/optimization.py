"""How the trainable parameters are moved: AdamW, linear warm-up, then cosine; the batch that fits into memory."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from vlm_rl.models.parts import PARTS


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Settings that belong to a model: what it tolerates and what fits."""

    learning_rate: float
    part_learning_rates: Mapping[str, float | None]  # by part; a part without one has learning_rate
    betas: Sequence[float]  # decay of the first and of the second moment
    weight_decay: float
    warmup_share: float  # of all gradient steps
    final_share: float  # of the learning rate, where the cosine ends
    max_grad_norm: float
    micro_batch_tokens: int  # tokens, padding included, of one forward with gradients
    forward_batch_tokens: int  # the same without gradients

    def rates(self, trained: Iterable[str]) -> dict[str, float]:
        """The learning rate of each trained part, before the algorithm's factor; an error where one could have no effect."""
        trained, own = list(trained), {part: rate for part, rate in self.part_learning_rates.items() if rate is not None}
        for part in own:
            key = f"model.optimization.part_learning_rates.{part}"
            if part not in PARTS:
                raise ValueError(f"{key}: unknown part; the parts are {', '.join(PARTS)}.")
            if part not in trained:
                raise ValueError(f"{key} is set, but {part} is frozen: take it out of model.freeze, or set {key}=null.")
        return {part: own.get(part, self.learning_rate) for part in trained}

    def optimizer(self, trained: Mapping[str, list[nn.Parameter]], *, scale: float) -> torch.optim.AdamW:
        """AdamW with a group for each trained part, in the given order; `scale` is the algorithm's factor on learning rates."""
        if not trained:
            raise ValueError("Nothing is trained: model.freeze holds every part. Take one out.")
        rates = self.rates(trained)
        groups = [{"params": parameters, "lr": rates[part] * scale, "part": part} for part, parameters in trained.items()]
        return torch.optim.AdamW(groups, betas=(self.betas[0], self.betas[1]), weight_decay=self.weight_decay, fused=True)

    def schedule(self, optimizer: torch.optim.Optimizer, *, num_updates: int) -> LambdaLR:
        """Warm-up over `warmup_share` of the updates, then a cosine down to `final_share`."""
        warmup = max(1, round(self.warmup_share * num_updates))

        def factor(update: int) -> float:
            if update < warmup:
                return (update + 1) / warmup
            progress = min(1.0, (update - warmup) / max(1, num_updates - warmup))
            return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))

        return LambdaLR(optimizer, factor)
