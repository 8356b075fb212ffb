"""Fake tensors take what real ones would; what decides shapes stays real; the tracker knows what was alive at the peak."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_rl.preflight.fake_tensors import FakeTensors
from vlm_rl.preflight.tracker import Tracker


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def watch(tracker: Tracker) -> TorchDispatchMode:
    """Of the benchmark: tells the tracker of real tensors."""
    sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
    try:
        mode: TorchDispatchMode = importlib.import_module("memory_estimate").Watch(tracker)
    finally:
        sys.path.pop()
    return mode


def test_the_tracker_knows_what_was_alive_at_the_peak(tracker: Tracker, watch: TorchDispatchMode) -> None:
    with watch:
        kept = torch.zeros(100)  # 400 bytes
        tracker.label([kept], "kept")
        at_start = tracker.start()
        passing = torch.zeros(50) + 1  # 200 + 200 bytes, and 200 remain
        del passing
        late = torch.ones(25)  # 100 bytes
    assert (at_start, tracker.peak()) == (400, {"kept": 400, "activations": 400})
    assert late.sum() == 25


def test_a_view_is_no_new_memory_and_a_label_may_come_late(tracker: Tracker, watch: TorchDispatchMode) -> None:
    tracker.label_of_width[3] = "narrow"
    with watch:
        tracker.start()
        table = torch.zeros(8, 4)  # 128 bytes
        row = table[3]
        narrow = torch.zeros(5, 3)  # 60 bytes
        tracker.label([row], "table")
    assert tracker.peak() == {"table": 128, "narrow": 60}
    assert len(narrow) == 5


def test_fake_tensors_have_the_memory_of_real_ones_forward_and_backward(tracker: Tracker, watch: TorchDispatchMode) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 8))

    fakes = FakeTensors()
    with torch.device("meta"):
        fake = network()
    fakes.replace(fake)
    fakes.tracker.label(fake.parameters(), "weights")
    with fakes:
        fakes.tracker.start()
        fake(torch.empty(32, 64)).sum().backward()
    real = network()
    tracker.label(real.parameters(), "weights")
    with watch:
        tracker.start()
        real(torch.empty(32, 64)).sum().backward()
    assert fakes.tracker.peak() == tracker.peak()
    forward = 2 * 32 * (64 * 256 + 256 * 8)
    for operations in (fakes.tracker.operations, tracker.operations):
        assert sum(o.flops for o in operations) == 2 * forward + 2 * 32 * 256 * 8  # no gradient of the input


def test_a_tensor_that_two_modules_share_stays_shared() -> None:
    with torch.device("meta"):
        pair = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        pair[1].weight = pair[0].weight
    FakeTensors().replace(pair)
    assert pair[0].weight is pair[1].weight and isinstance(pair[0].weight, FakeTensor) and pair[0].weight.requires_grad


def test_a_model_may_divide_by_the_whole_numbers_that_it_keeps() -> None:
    module = nn.Module()
    module.sizes = nn.Buffer(torch.tensor([7, 11], device="meta"))
    module.chosen = nn.Buffer(torch.tensor([True, True], device="meta"))
    fakes = FakeTensors()
    fakes.replace(module)
    with fakes:
        assert torch.remainder(torch.tensor([3, 4]), module.sizes).tolist() == [0, 0]
    assert module.chosen.tolist() == [False, False]


def test_masks_and_counts_stay_real_among_fake_tensors() -> None:
    with FakeTensors():
        fake = torch.zeros(6, 3)
        assert fake[torch.tensor([True, False, True, True, False, False])].shape == (3, 3)
        assert fake.argmax(-1).tolist() == [0] * 6  # computed from fake tensors: zeros
        assert torch.arange(4).sum().item() == 6
        assert math.isfinite(float(fake.norm()))


def test_ids_and_masks_of_tokens_stay_real_and_masks_of_pairs_become_fake() -> None:
    ids = torch.arange(600_000).reshape(300, 2_000)  # 4.8 MB
    with FakeTensors():
        chosen = ids % 1_000 == 7
        assert not isinstance(chosen, FakeTensor) and int(chosen.sum()) == 600
        assert int((ids + 1).amax()) == 600_000
        pairs = ids[:2, None, :, None] >= ids[:2, None, None, :]  # 8 MB of True and False
        assert isinstance(pairs, FakeTensor) and pairs.shape == (2, 1, 2_000, 2_000)
        hidden = torch.zeros(300, 2_000, 64)
        assert hidden[chosen].shape == (600, 64)
        assert hidden[chosen.unsqueeze(-1).expand_as(hidden)].shape == (600 * 64,)
