"""Whole commands on the logical GPU: nothing that CUDA would refuse, and the host waits only where it is known why."""

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
from every_algorithm import BY_GROUP, EVERY, algorithm
from host_values import ALLOWED, IN_LIBRARIES, file_of, function_of
from logical.findings import Findings
from logical.gpu import group_of_one, logical_gpu
from scenarios import CONTROLS, SCENARIOS
from shared_runs import Seen
from torch import Tensor
from trajectories import bare, learning, random_logprobs


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_on_the_wrong_device_and_the_host_waits_only_where_it_is_known_why(name: str, seen: Seen) -> None:
    found = seen(name)
    assert list(found.faults) == []
    assert [text for text in found.host_values if function_of(text) not in ALLOWED] == []
    assert [text for text in found.in_libraries if not file_of(text).startswith(tuple(IN_LIBRARIES))] == []
    # With nothing on the GPU, and without an update, there would be nothing to find.
    assert any("vlm_rl/commands/build.py" in text and "a move to the GPU" in text for text in found.copies)
    assert any("clip_gradients" in text for text in found.host_values) == (name != "dry run")


@pytest.mark.slow
def test_every_reason_to_wait_is_still_needed(seen: Seen) -> None:
    everything = [seen(name) for name in SCENARIOS]
    functions = {function_of(text) for found in everything for text in found.host_values}
    files = {file_of(text) for found in everything for text in found.in_libraries}
    assert functions == ALLOWED.keys()
    assert [beginning for beginning in IN_LIBRARIES if not any(file.startswith(beginning) for file in files)] == []


@pytest.mark.slow
@pytest.mark.parametrize("control", CONTROLS)
def test_a_move_that_is_missing_is_found(control: str, seen: Seen) -> None:
    """Every run on a GPU once died of the first; of the second evaluate.py computed on the CPU, and did not say so."""
    assert list(seen("dry run", control).faults) != []


@pytest.fixture
def found() -> Iterator[Findings]:
    """What the logical GPU sees while a test runs on it."""
    with group_of_one(), logical_gpu() as findings:
        yield findings


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_advantages_weights_and_loss_of_every_algorithm_stay_on_the_gpu(name: str, found: Findings) -> None:
    made = bare([3, 2, 1, 2], scores=[1.0, 0.0, 0.5, 0.5])
    made = replace(made, old_logprobs=random_logprobs(made, seed=0), ref_logprobs=random_logprobs(made, seed=1))
    tensors = {field.name: getattr(made, field.name) for field in fields(made)}
    batch = replace(made, **{key: value.to("cuda") for key, value in tensors.items() if isinstance(value, Tensor)})
    chosen = algorithm(name, group_size=2) if name in BY_GROUP else algorithm(name)
    logprobs = random_logprobs(made, seed=2).to("cuda").requires_grad_()
    chosen.loss(logprobs, learning(chosen, batch)).loss.backward()
    assert logprobs.grad is not None and logprobs.grad.is_cuda
    assert list(found.faults) == []
