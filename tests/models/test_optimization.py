import math

import pytest
import torch
from torch import nn

from vlm_rl.models.optimization import Optimization

SETTINGS = Optimization(
    learning_rate=0.5,
    betas=(0.9, 0.99),
    weight_decay=0.0,
    warmup_share=0.2,
    final_share=0.1,
    max_grad_norm=1.0,
    micro_batch_tokens=1,
    forward_batch_tokens=1,
)


def test_the_learning_rate_warms_up_linearly_and_then_falls_along_a_cosine() -> None:
    optimizer = SETTINGS.optimizer([nn.Parameter(torch.zeros(1))], scale=2.0)
    schedule = SETTINGS.schedule(optimizer, num_updates=10)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    # peak 0.5 x 2; two updates of warm-up; eight of cosine: at 2 the peak, at 6 half way (0.1 + 0.9 / 2), from 10 on 0.1
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[4] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rates[6] == pytest.approx(0.55)
    assert rates[10:] == pytest.approx([0.1, 0.1])


def test_without_warm_up_the_first_update_has_the_full_rate() -> None:
    optimizer = SETTINGS.optimizer([nn.Parameter(torch.zeros(1))], scale=1.0)
    SETTINGS.schedule(optimizer, num_updates=1)
    assert optimizer.param_groups[0]["lr"] == 0.5
