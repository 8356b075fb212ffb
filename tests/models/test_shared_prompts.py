"""Each prompt once: log-probabilities and gradients are those of separate sequences, for every family that can."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families.build import FAMILIES, NEW_FAMILIES
from families.trials import LENGTHS, ORDINARY_IDS, settings_of
from tiny_runs import pixels_stay, trembling
from torch import Tensor

from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models.policy import Policy
from vlm_rl.models.shared_prompts import _layout, _windowed
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.written import finish
from vlm_rl.types import Samples

OF_STATES = "read a sequence token by token"
OF_ITS_OWN = "the model makes a mask of its own"
OWN_COPIES = {  # families that fall back, and a piece of the line that says why
    "gemma3": OF_ITS_OWN,  # tokens of one picture see each other
    "gemma4": OF_ITS_OWN,
    "gemma4_unified": OF_ITS_OWN,
    "qwen3_5": OF_STATES,
    "qwen3_5_moe": OF_STATES,
    "qwen4_exp": OF_STATES,
    "lfm2_vl": OF_STATES,
    "lfm3_vl": OF_STATES,
    "minicpmv4_6": OF_STATES,
    "minicpmv4_7": OF_STATES,
}
TOLERANCE = 1e-5  # float32; of gradients, of their largest entry


def grouped(experiment: Experiment, rows: list[Row]) -> Samples:
    """Three responses of different lengths to each row, in an order in which no two neighbours have one prompt."""
    count = 3 * len(rows)
    ids = torch.randint(*ORDINARY_IDS, (count, max(LENGTHS)), generator=torch.Generator().manual_seed(3))
    ids[torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS).repeat(len(rows))[:, None]] = -1
    responses = finish(experiment.policy, ids, torch.zeros(ids.shape), 3)
    with pixels_stay():
        queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=0)
    return concatenate(queries, responses, scores=torch.zeros(count))


def learned(policy: Policy, samples: Samples) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and the gradient of their weighted sum."""
    policy.zero_grad(set_to_none=True)
    logprobs = policy.statistics(samples).logprobs
    weights = torch.arange(logprobs.numel(), dtype=torch.float32).view(logprobs.shape).cos()
    (logprobs * weights).sum().backward()
    return logprobs.detach(), torch.cat([p.grad.flatten() for p in policy.trained_parameters if p.grad is not None])


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *NEW_FAMILIES])
def test_a_family_shares_prompts_exactly_or_says_why_it_does_not(
    family: str, family_folder: Callable[[str], Path], mixed_rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = build(composed(settings_of(family, family_folder(family))))
    policy = experiment.policy
    trembling(policy)
    samples = grouped(experiment, mixed_rows)
    expected = learned(policy, replace(samples, group_size=1))
    found = learned(policy, samples)
    is_shared = policy.shared_groups(samples) is not None
    told = capsys.readouterr().out
    experiment.reward.close()
    assert is_shared == (family not in OWN_COPIES)
    assert told.count("reads its own copy of the prompt") == (family in OWN_COPIES)
    assert OWN_COPIES.get(family, "") in told
    for ours, plain in zip(found, expected, strict=True):
        assert (ours - plain).abs().max() <= TOLERANCE * max(1.0, float(plain.abs().max()))


def test_a_token_sees_its_prompt_and_its_own_response_alone() -> None:
    """Two prompts of 2 and 1 tokens, responses of 1, 2 and 1 tokens, the second of them to the second prompt."""
    layout, before = _layout(np.array([2, 1]), np.array([1, 2, 1]), np.array([0, 1, 0]), device=torch.device("cpu"))
    # the row: prompts 0 1 | 2, responses 3 | 4 5 | 6
    assert layout.prompts.tolist() == [[0, 1], [0, 2]]
    assert layout.responses.tolist() == [[3, 0], [4, 5], [6, 0]]
    assert before.tolist() == [1, 2, 4, 1]  # the last token of the prompt decides on the first of a response
    assert layout.prompt_mask[:, 0].int().tolist() == [[[1, 0], [1, 1]], [[1, 0], [0, 1]]]
    assert layout.response_mask[1, 0].int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 1]]
    assert layout.back.tolist() == [0, 1, 3, 4, 6, 7, 8]


def test_a_window_counts_from_the_token_itself() -> None:
    mask = torch.ones(1, 1, 2, 5, dtype=torch.bool)  # two tokens after a prompt of three
    assert _windowed(mask, 3)[0, 0].int().tolist() == [[0, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert _windowed(mask, None) is mask
