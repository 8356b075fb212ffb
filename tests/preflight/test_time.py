"""The estimate of time on a machine whose speed is known: every number here is worked out by hand."""

import functools

import pytest
import torch
from hydra.utils import instantiate

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import composed
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.split_check import PromptLength
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.device import Machine, measured
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.time_estimate import SHARES, SLOWER, RunLength, TimeEstimate, duration
from vlm_rl.preflight.tracker import Operation
from vlm_rl.preflight.workload import PromptSizes, Workload

MACHINE = Machine(flops={"float32": 100.0, "bfloat16": 200.0}, bandwidth=10.0, start=0.5)
LENGTH = RunLength(num_steps=10, encoded_prompts=80, num_evaluations=3, evaluated_rows=5, evaluated_responses=20)
ROW = Row(id="1", question="", answer="", solution=None, images=())
LONGEST = PromptLength(text=20, image=40)


def phase(name: str, *, flops: int, num_sequences: int) -> Phase:
    operations = (Operation(flops=flops, num_bytes=0, dtype="float32"),)
    return Phase(name=name, parts={}, resident=0, operations=operations, num_sequences=num_sequences, only_adapters=True)


TRACED = [  # seconds of one sequence: 1, 2, then 1 and 3 for a token, 4, 6; 5 for a whole mini-batch of 4
    phase(names.VISION, flops=100, num_sequences=1),
    phase(names.PREFILL, flops=1600, num_sequences=8),
    phase(names.FIRST_TOKENS, flops=3200, num_sequences=16),
    phase(names.LAST_TOKENS, flops=9600, num_sequences=16),
    phase(names.SCORING, flops=6400, num_sequences=16),
    phase(names.UPDATE, flops=1200, num_sequences=2),
    phase(names.OPTIMIZER_STEP, flops=500, num_sequences=4),
]


@functools.cache
def settings(algorithm: str) -> tuple[Dataset, Algorithm]:
    """Eight queries with two responses of at most 40 tokens each, in four mini-batches."""
    group = 1 if algorithm == "sft" else 2
    sizes = [
        "dataset.batch_size=8",
        "dataset.max_new_tokens=40",
        f"algorithm.group_size={group}",
        "algorithm.num_minibatches=4",
    ]
    cfg = composed(["experiment=smoke", f"algorithm={algorithm}", *sizes])
    return instantiate(cfg.dataset), instantiate(cfg.algorithm)


def work(algorithm: str = "grpo", *, mean: PromptLength = LONGEST) -> Workload:
    dataset, made = settings(algorithm)
    prompts = PromptSizes(row=ROW, longest=LONGEST, mean=mean)
    return Workload(dataset=dataset, algorithm=made, prompts=prompts, forward_batch_size=16, num_ranks=1, on_gpu=False)


def estimate(workload: Workload | None = None, length: RunLength = LENGTH) -> TimeEstimate:
    return duration(TRACED, workload=workload or work(), length=length, machine=MACHINE)


@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        (Operation(flops=300, num_bytes=20, dtype="float32"), 3.0),  # arithmetic
        (Operation(flops=300, num_bytes=20, dtype="bfloat16"), 2.0),  # 1.5 of arithmetic, 2 of memory
        (Operation(flops=1, num_bytes=1, dtype="float32"), 0.5),  # to start it
        (Operation(flops=300, num_bytes=0, dtype="float64"), 3.0),  # not measured: as the slowest
    ],
)
def test_an_operation_is_bound_by_arithmetic_memory_or_its_start(operation: Operation, seconds: float) -> None:
    assert MACHINE.seconds([operation, operation]) == pytest.approx(2 * seconds)


@pytest.mark.parametrize(("case", "tokens", "slower"), [(0, 10, 1.0), (1, 20, 1.7), (2, 40, 3.0)])
def test_three_cases_differ_in_the_length_of_responses_and_in_the_speed(case: int, tokens: int, slower: float) -> None:
    assert (SHARES.tolist(), SLOWER.tolist()) == ([0.25, 0.5, 1.0], [1.0, 1.7, 3.0])
    shorter = (60 + tokens) / (60 + 40)
    mean_token = 1 + (3 - 1) * tokens / 40 / 2  # the cache grows evenly
    expected = {
        "vision": 8 * 1,
        "step 2, sampling": 8 * 2 + 16 * tokens * mean_token,
        "step 3, log-probabilities": 16 * 4 * 2 * shorter,  # the policy and the reference
        "step 4, update": 16 * 6 * shorter + 4 * 5,
    }
    found = estimate()
    assert {name: seconds[case] for name, seconds in found.phases.items()} == pytest.approx(
        {name: slower * seconds for name, seconds in expected.items()}
    )
    evaluation = slower * (5 * (1 + 2) + 20 * tokens * mean_token)
    assert found.evaluation[case] == pytest.approx(evaluation)
    assert found.step[case] == pytest.approx(slower * sum(expected.values()))
    assert found.run[case] == pytest.approx(10 * slower * sum(expected.values()) + 3 * evaluation)


def test_what_dynamic_sampling_samples_beyond_the_batch_is_encoded_and_written_and_not_learned_from() -> None:
    """4 queries more than the 8 of an update; dapo needs no reference."""
    found = estimate(work("dapo")).phases
    assert found["vision"][-1] == pytest.approx(3 * 12 * 1)
    assert found["step 2, sampling"][-1] == pytest.approx(3 * (12 * 2 + 24 * 40 * (1 + 3) / 2))
    assert found["step 3, log-probabilities"][-1] == pytest.approx(3 * 16 * 4)
    assert found["step 4, update"] == pytest.approx(estimate().phases["step 4, update"])


def test_given_solutions_are_not_sampled_but_in_evaluations() -> None:
    given = estimate(work("sft"))
    assert given.phases["step 2, sampling"].tolist() == [0, 0, 0]
    assert given.evaluation == pytest.approx(estimate().evaluation)


def test_cached_features_are_made_once_in_a_run() -> None:
    cached = estimate(length=RunLength(**{**vars(LENGTH), "encoded_prompts": 30}))
    assert estimate().run - cached.run == pytest.approx(SLOWER * (80 - 30) * 1)


def test_a_mean_prompt_takes_less_than_the_longest() -> None:
    found = estimate(work(mean=PromptLength(text=10, image=20))).phases
    assert found["vision"][-1] == pytest.approx(3 * 8 * 0.5)
    assert found["step 3, log-probabilities"][-1] == pytest.approx(3 * 16 * 4 * 2 * 0.7)


@pytest.mark.slow
def test_this_machine_is_measured_in_seconds_with_the_threads_of_the_run() -> None:
    before = torch.get_num_threads()
    found = measured(torch.device("cpu"), dtypes=["float32"], num_threads=1)
    assert torch.get_num_threads() == before
    assert 1e8 < found.flops["float32"] < 1e14
    assert 1e8 < found.bandwidth < 1e12
    assert 1e-8 < found.start < 1e-2
