"""Time of a run before it begins: the operations of each traced phase on the device's measured speed.

Three cases, because nobody knows before how long the responses will be: from a quarter of `max_new_tokens` each to all of it, and
slower than the roofline, which leaves out the tokenizer, the judge, the loading of pictures and gaps between kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_rl.preflight import phase as names
from vlm_rl.preflight.device import Machine
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.phases import TRACED_TOKENS
from vlm_rl.preflight.workload import Workload

SHARES = np.array([0.25, 0.5, 1.0])  # of max_new_tokens: the mean response in each case
SLOWER = np.array([1.0, 1.7, 3.0])  # times the roofline; benchmarks/memory_estimate.py saw 1.1 to 2.4 on an idle CPU
ENCODE, SAMPLE, SCORE, LEARN = "vision", "step 2, sampling", "step 3, log-probabilities", "step 4, update"
Seconds = Float[np.ndarray, "3"]  # in each case


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How often this rank does what in the run."""

    num_steps: int  # generation steps
    encoded_prompts: int  # prompts whose images are encoded in training
    num_evaluations: int
    evaluated_rows: int  # questions of one evaluation, once for each setting
    evaluated_responses: int  # of one evaluation, over all its splits, settings and samples


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """Seconds of each phase of a generation step, and of all."""

    phases: Mapping[str, Seconds]
    evaluation: Seconds  # of one
    run: Seconds  # evaluations included

    @property
    def step(self) -> Seconds:
        """All phases of a generation step."""
        return sum(self.phases.values(), np.zeros(len(SHARES)))


def duration(traced: Sequence[Phase], *, workload: Workload, length: RunLength, machine: Machine) -> TimeEstimate:
    """The whole run. In an evaluation, a row is read once for all settings."""
    algorithm, prompts, max_new_tokens = workload.algorithm, workload.prompts, workload.dataset.max_new_tokens
    longest, mean = prompts.longest, prompts.mean
    tokens = np.maximum(1, np.round(max_new_tokens * SHARES))
    traced_seconds = {phase.name: SLOWER * machine.seconds(phase.operations) / phase.num_sequences for phase in traced}
    shorter = (mean.total + tokens) / (longest.total + max_new_tokens)  # than what was traced
    encode = traced_seconds.get(names.VISION, np.zeros(3)) * mean.image / max(1, longest.image)  # of one prompt, as all below
    prefill = traced_seconds[names.PREFILL] * mean.total / longest.total
    first, last = (traced_seconds[name] / TRACED_TOKENS for name in (names.FIRST_TOKENS, names.LAST_TOKENS))
    response = tokens * (first + (last - first) * SHARES / 2)  # the cache grows evenly
    sampling = (prefill + response * algorithm.group_size) * workload.num_queries
    is_recomputed = algorithm.needs_old_logprobs and algorithm.old_logprobs == "recompute"
    num_passes = is_recomputed + algorithm.needs_reference
    learn = traced_seconds[names.UPDATE] * shorter * workload.num_responses
    optimizer_step = traced_seconds[names.OPTIMIZER_STEP] * workload.mini_batch
    phases = {
        ENCODE: encode * workload.num_queries,
        SAMPLE: sampling * algorithm.learns_from_own_responses,
        SCORE: traced_seconds[names.SCORING] * shorter * workload.num_responses * num_passes,
        LEARN: algorithm.ppo_epochs * (learn + optimizer_step * algorithm.num_minibatches),
    }
    evaluation = (encode + prefill) * length.evaluated_rows + response * length.evaluated_responses
    steps = (phases[SAMPLE] + phases[SCORE] + phases[LEARN]) * length.num_steps
    run = encode * length.encoded_prompts + steps + evaluation * length.num_evaluations
    return TimeEstimate(phases=phases, evaluation=evaluation, run=run)
