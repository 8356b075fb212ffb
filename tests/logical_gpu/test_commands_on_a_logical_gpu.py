"""Whole commands on the logical GPU: nothing that CUDA would refuse, and the host waits only where it is known why."""

import pytest
from host_values import ALLOWED, IN_LIBRARIES, file_of, function_of
from scenarios import SCENARIOS
from shared_runs import Seen


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_on_the_wrong_device(name: str, seen: Seen) -> None:
    assert list(seen(name).faults) == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_host_waits_for_the_gpu_only_where_it_is_known_why(name: str, seen: Seen) -> None:
    found = seen(name)
    assert [text for text in found.host_values if function_of(text) not in ALLOWED] == []
    assert [text for text in found.in_libraries if not file_of(text).startswith(tuple(IN_LIBRARIES))] == []


def test_every_reason_to_wait_is_still_needed(seen: Seen) -> None:
    everything = [seen(name) for name in SCENARIOS]
    functions = {function_of(text) for found in everything for text in found.host_values}
    files = {file_of(text) for found in everything for text in found.in_libraries}
    assert functions == ALLOWED.keys()
    assert [beginning for beginning in IN_LIBRARIES if not any(file.startswith(beginning) for file in files)] == []


def test_every_training_updates_the_policy(seen: Seen) -> None:
    """The control: every training has an update to look at."""
    without = [name for name in SCENARIOS if not any("PolicyUpdate._step" in text for text in seen(name).host_values)]
    assert without == ["dry run"]


def test_the_model_really_is_on_the_logical_gpu_in_every_scenario(seen: Seen) -> None:
    """The control: with nothing on the GPU there would be nothing to find."""
    for name in SCENARIOS:
        assert any("vlm_rl/commands/build.py" in text and "a move to the GPU" in text for text in seen(name).copies), name
