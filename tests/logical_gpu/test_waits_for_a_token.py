"""The sampler's host waits for the GPU once for each token, counted on the logical GPU."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from logical.findings import Findings
from logical.gpu import group_of_one, logical_gpu
from tiny_runs import Build

from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine

SETTINGS = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=4, num_samples=2)


def waits(built: Build, num_tokens: int) -> Counter[str]:
    """By function of the package, for so many tokens to each of two prompts; none ends early."""
    experiment = built()
    with group_of_one(), logical_gpu() as found:
        policy = experiment.policy.to("cuda")
        policy.vlm.generation_config.eos_token_id = [policy.vlm.config.image_token_id]  # banned, so it is never drawn
        engine = HuggingFaceEngine(forward_batch_size=3)
        engine.load(policy)
        queries = experiment.encoder.batch([experiment.dataset.train[i] for i in (0, 1)], indices=[0, 1], step=0)
        engine.generate(queries, replace(SETTINGS, max_new_tokens=num_tokens), np.arange(4).reshape(2, 2))
    assert not found.faults
    return by_function(found)


def by_function(found: Findings) -> Counter[str]:
    told: Counter[str] = Counter()
    for text, count in found.host_values.items():
        told[text.split(" | ")[0]] += count
    return told


@pytest.mark.slow
def test_each_token_of_the_slots_costs_one_wait(built: Build) -> None:
    """Three slots for four responses: 2 x tokens steps."""
    short, long = waits(built, 4), waits(built, 12)
    assert long - short == Counter({"rollout/huggingface_engine.py:Writing._write": 2 * 8})
