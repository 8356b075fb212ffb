import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vlm_rl.models.optimization import Optimization

SETTINGS = Optimization(
    learning_rate=0.5,
    part_learning_rates={"vision": None, "connector": None, "language": None},
    betas=(0.9, 0.99),
    weight_decay=0.0,
    warmup_share=0.2,
    final_share=0.1,
    max_grad_norm=1.0,
    micro_batch_tokens=1,
    forward_batch_tokens=1,
)


def test_the_learning_rate_warms_up_linearly_and_then_falls_along_a_cosine() -> None:
    optimizer = SETTINGS.optimizer({"language": [nn.Parameter(torch.zeros(1))]}, scale=2.0)
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
    single = SETTINGS.optimizer({"language": [nn.Parameter(torch.zeros(1))]}, scale=1.0)
    SETTINGS.schedule(single, num_updates=1)
    assert single.param_groups[0]["lr"] == 0.5  # without a warm-up the first update has the full rate


def test_each_part_has_its_own_rate_and_the_factor_holds_for_all() -> None:
    trained = {part: [nn.Parameter(torch.zeros(1))] for part in ("language", "connector", "vision")}
    rates = {"vision": 0.01, "connector": None}
    found = replace(SETTINGS, part_learning_rates=rates).optimizer(trained, scale=2.0).param_groups
    assert [(group["part"], group["lr"]) for group in found] == [("language", 1.0), ("connector", 1.0), ("vision", 0.02)]


def test_the_schedule_moves_every_group_by_the_same_factor_and_resumes_with_them() -> None:
    def fresh() -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, list[nn.Parameter]]:
        weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        settings = replace(SETTINGS, part_learning_rates={"vision": 0.1})
        optimizer = settings.optimizer({"language": weights[:1], "vision": weights[1:]}, scale=1.0)
        return optimizer, settings.schedule(optimizer, num_updates=10), weights

    def update(optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(1)
        optimizer.step()
        schedule.step()

    optimizer, schedule, weights = fresh()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25, 0.05])  # half of the way to the peak
    update(optimizer, schedule)
    # AdamW's first step is the learning rate itself, whatever the size of the gradient
    assert torch.cat(weights).tolist() == pytest.approx([0.75, 0.95])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.1])
    other, its_schedule, its_weights = fresh()
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # a file holds no references
    its_schedule.load_state_dict(schedule.state_dict())
    for weight, its_weight in zip(weights, its_weights, strict=True):
        its_weight.data.copy_(weight.data)
    for pair in ((optimizer, schedule), (other, its_schedule)):
        update(*pair)
    assert torch.equal(torch.cat(its_weights), torch.cat(weights))
    assert [group["part"] for group in other.param_groups] == ["language", "vision"]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"connector": 0.1}, r"part_learning_rates.connector is set, but connector is frozen.*model.freeze.*connector=null"),
        ({"head": 0.1}, r"part_learning_rates.head: unknown part; the parts are vision, connector, language"),
    ],
)
def test_a_rate_without_effect_is_an_error(rates: dict[str, float | None], message: str) -> None:
    settings = replace(SETTINGS, part_learning_rates=rates)
    with pytest.raises(ValueError, match=message):
        settings.optimizer({"language": [nn.Parameter(torch.zeros(1))]}, scale=1.0)


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Nothing is trained: model.freeze holds every part"):
        SETTINGS.optimizer({}, scale=1.0)
