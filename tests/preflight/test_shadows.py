"""Shadows of large batches: what decides shapes stays real however large it is, masks of queries against keys are never made."""

import functools
import resource

import torch
from hydra.utils import instantiate
from torch._subclasses.fake_tensor import FakeTensor

from vlm_rl.commands.build import composed
from vlm_rl.preflight.memory import Traced, trace
from vlm_rl.preflight.shadows import LARGEST_REAL, Shadows
from vlm_rl.preflight.shapes import PromptShape, Workload


def traced(batch_size: int) -> Traced:
    """So many prompts of 2,100 tokens with a picture each, sampled, scored and learned from together."""
    tokens = ("model.optimization.forward_batch_tokens=1_000_000", "model.optimization.micro_batch_tokens=1_000_000")
    make = functools.partial(
        instantiate, composed(["experiment=smoke", *tokens]).model, temperature=1.0, seed=0, untrained=True
    )
    prompt = PromptShape(tokens=2_100, pictures=((560, 560),))
    workload = Workload(
        longest=prompt,
        typical=prompt,
        max_new_tokens=8,
        batch_size=batch_size,
        group_size=1,
        num_minibatches=1,
        ppo_epochs=1,
        forward_batch_size=batch_size,
        needs_old_logprobs=True,
        needs_reference=True,
        num_ranks=1,
        on_gpu=True,
    )
    return trace(make, workload=workload)


def test_a_batch_of_half_a_million_tokens_with_pictures_is_estimated_in_proportion() -> None:
    """256 rows of 2,100 ids are 4.3 MB, more than LARGEST_REAL; each phase then takes 8 times what 32 rows take."""
    assert 256 * 2_100 * 8 > LARGEST_REAL > 32 * 2_100 * 8
    small, large = ({p.name: p.parts["activations"] for p in traced(size).memory.phases} for size in (32, 256))
    for phase in ("prefill", "scoring", "update"):
        assert 0.95 < large[phase] / (8 * small[phase]) < 1.05, phase
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KiB; the estimate is of 31 GiB


def test_ids_and_masks_of_tokens_stay_real_and_masks_of_pairs_become_shadows() -> None:
    shadows, ids = Shadows(), torch.arange(600_000).reshape(300, 2_000)  # 4.8 MB
    with shadows:
        chosen = ids % 1_000 == 7
        assert not isinstance(chosen, FakeTensor) and int(chosen.sum()) == 600
        assert int((ids + 1).amax()) == 600_000
        pairs = ids[:2, None, :, None] >= ids[:2, None, None, :]  # 8 MB of True and False
        assert isinstance(pairs, FakeTensor) and pairs.shape == (2, 1, 2_000, 2_000)
        hidden = torch.zeros(300, 2_000, 64)
        assert hidden[chosen].shape == (600, 64)
        assert hidden[chosen.unsqueeze(-1).expand_as(hidden)].shape == (600 * 64,)
