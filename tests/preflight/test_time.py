"""The estimate of time on a machine whose speed is known: every number here is worked out by hand."""

from dataclasses import replace

import pytest
import torch

from vlm_rl.preflight import phases
from vlm_rl.preflight.device import Machine, measured
from vlm_rl.preflight.phases import Phase
from vlm_rl.preflight.shapes import PromptShape, Workload
from vlm_rl.preflight.time_estimate import CASES, Range, RunLength, TimeEstimate, duration
from vlm_rl.preflight.tracker import VIEW, Operation, Peak

MACHINE = Machine(flops={"float32": 100.0, "bfloat16": 200.0}, bandwidth=10.0, start=0.5)
PROMPT = PromptShape(tokens=60, pictures=((10, 20),))
WORK = Workload(
    longest=PROMPT,
    typical=PROMPT,
    max_new_tokens=40,
    batch_size=8,
    group_size=2,
    num_minibatches=4,
    ppo_epochs=1,
    forward_batch_size=16,
    needs_old_logprobs=True,
    needs_reference=True,
    num_ranks=1,
    on_gpu=False,
)
LENGTH = RunLength(
    num_steps=10,
    writes_responses=True,
    num_rows=80,
    features_are_kept=False,
    num_evaluations=3,
    evaluated_rows=5,
    evaluated_responses=20,
)


def phase(name: str, *, flops: int, num_sequences: int) -> Phase:
    operations = (Operation(flops=flops, num_bytes=0, dtype="float32"),)
    return Phase(name=name, peak=Peak(parts={}, at_start=0), operations=operations, num_sequences=num_sequences)


TRACED = [  # seconds of one sequence: 1, 2, then 1 and 3 for a token, 4, 6; 5 for a whole mini-batch of 4
    phase(phases.VISION, flops=100, num_sequences=1),
    phase(phases.PREFILL, flops=1600, num_sequences=8),
    phase(phases.FIRST_TOKENS, flops=3200, num_sequences=16),
    phase(phases.LAST_TOKENS, flops=9600, num_sequences=16),
    phase(phases.SCORING, flops=6400, num_sequences=16),
    phase(phases.UPDATE, flops=1200, num_sequences=2),
    phase(phases.OPTIMIZER_STEP, flops=500, num_sequences=4),
]


def estimate(work: Workload = WORK, length: RunLength = LENGTH) -> TimeEstimate:
    return duration(TRACED, workload=work, length=length, machine=MACHINE)


@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        (Operation(flops=300, num_bytes=20, dtype="float32"), 3.0),  # arithmetic
        (Operation(flops=300, num_bytes=20, dtype="bfloat16"), 2.0),  # 1.5 of arithmetic, 2 of memory
        (Operation(flops=1, num_bytes=1, dtype="float32"), 0.5),  # to start it
        (Operation(flops=300, num_bytes=0, dtype="float64"), 3.0),  # not measured: as the slowest
        (VIEW, 0.5),
    ],
)
def test_an_operation_is_bound_by_arithmetic_memory_or_its_start(operation: Operation, seconds: float) -> None:
    assert MACHINE.seconds([operation, operation]) == pytest.approx(2 * seconds)


def test_the_slow_end_is_all_responses_in_full_at_the_declared_inefficiency() -> None:
    assert CASES == ((0.25, 1.0), (0.5, 1.7), (1.0, 3.0))
    high = {name: spent.high for name, spent in estimate().phases.items()}
    expected = {
        "vision": 8 * 1,
        "step 2, sampling": 8 * 2 + 16 * 40 * (1 + 3) / 2,  # the cache grows evenly: the mean token
        "step 3, log-probabilities": 16 * 4 * 2,  # the policy and the reference
        "step 4, update": 16 * 6 + 4 * 5,
    }
    assert high == pytest.approx({name: 3 * seconds for name, seconds in expected.items()})


def test_what_dynamic_sampling_samples_beyond_the_batch_is_seen_and_written_and_not_learned_from() -> None:
    """4 queries more than the 8 of an update."""
    plain, more = estimate(), estimate(replace(WORK, surplus=4))
    assert more.phases["vision"].high == pytest.approx(3 * 12 * 1)
    assert more.phases["step 2, sampling"].high == pytest.approx(3 * (12 * 2 + 24 * 40 * (1 + 3) / 2))
    for name in ("step 3, log-probabilities", "step 4, update"):
        assert more.phases[name] == plain.phases[name]
    assert more.run.high - plain.run.high == pytest.approx(3 * 10 * (4 * 1 + 4 * 2 + 8 * 40 * 2))


def test_the_quick_end_is_responses_of_a_quarter_without_waste() -> None:
    low = {name: spent.low for name, spent in estimate().phases.items()}
    shorter = (60 + 10) / (60 + 40)
    assert low["vision"] == pytest.approx(8 * 1)
    assert low["step 2, sampling"] == pytest.approx(8 * 2 + 16 * 10 * (1 + (3 - 1) * 0.25 / 2))
    assert low["step 3, log-probabilities"] == pytest.approx(16 * 4 * 2 * shorter)
    assert low["step 4, update"] == pytest.approx(16 * 6 * shorter + 4 * 5)


def test_between_them_are_responses_of_half_the_length() -> None:
    middle = {name: spent.middle for name, spent in estimate().phases.items()}
    assert middle["vision"] == pytest.approx(1.7 * 8 * 1)
    assert middle["step 2, sampling"] == pytest.approx(1.7 * (8 * 2 + 16 * 20 * (1 + (3 - 1) * 0.5 / 2)))
    assert middle["step 4, update"] == pytest.approx(1.7 * (16 * 6 * (60 + 20) / (60 + 40) + 4 * 5))


def test_given_solutions_are_not_sampled_but_in_evaluations() -> None:
    given, own = estimate(length=replace(LENGTH, writes_responses=False)), estimate()
    assert given.phases["step 2, sampling"] == Range(low=0, middle=0, high=0)
    assert given.evaluation == own.evaluation
    assert own.run.high - given.run.high == pytest.approx(10 * own.phases["step 2, sampling"].high)


def test_a_run_is_its_steps_and_its_evaluations() -> None:
    found = estimate()
    evaluation = 3 * (5 * (1 + 2) + 20 * 40 * 2)
    assert found.evaluation.high == pytest.approx(evaluation)
    assert found.run.high == pytest.approx(10 * found.step.high + 3 * evaluation)
    assert found.step == Range(
        low=sum(spent.low for spent in found.phases.values()),
        middle=sum(spent.middle for spent in found.phases.values()),
        high=sum(spent.high for spent in found.phases.values()),
    )


def test_kept_features_are_looked_at_once_in_a_run() -> None:
    kept = estimate(length=replace(LENGTH, num_rows=30, features_are_kept=True))
    assert estimate().run.high - kept.run.high == pytest.approx(3 * (10 * 8 - 30) * 1)


def test_a_typical_prompt_takes_less_than_the_longest() -> None:
    found = estimate(replace(WORK, typical=PromptShape(tokens=30, pictures=((10, 10),))))
    assert found.phases["vision"].high == pytest.approx(3 * 8 * 0.5)
    assert found.phases["step 3, log-probabilities"].high == pytest.approx(3 * 16 * 4 * 2 * 0.7)


def test_this_machine_is_measured_in_seconds() -> None:
    found = measured(torch.device("cpu"), dtypes=["float32"])
    assert 1e8 < found.flops["float32"] < 1e14
    assert 1e8 < found.bandwidth < 1e12
    assert 1e-8 < found.start < 1e-2
