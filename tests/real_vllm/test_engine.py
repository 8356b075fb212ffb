"""The engine against a real vLLM: the same prompts, the same log-probabilities, and an adapter of its own for each version."""

import httpx
import pytest
import torch
from served import Served, largest_difference, rows, sampled
from tiny_runs import trembling

from vlm_rl.types import ResponseBatch

TOLERANCE = 1e-4  # nats, of any token; measured: 4.1e-5
TEMPERATURES = (0.7, 1.0)


@pytest.fixture(autouse=True)
def untrained(served: Served) -> None:
    """Each test begins with an adapter that changes nothing."""
    policy = served.policy
    names = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    weights = [
        torch.zeros_like(w) if ".lora_B." in name else w for name, w in zip(names, policy.trained_weights(), strict=True)
    ]
    policy.take(weights, version=0)


def differences(served: Served) -> list[float]:
    """At each temperature, by the weights of now."""
    with served.engine() as engine:
        engine.load(served.policy)
        queries = served.queries()
        return [
            largest_difference(served.policy, queries, sampled(engine, queries, temperature=t), temperature=t)
            for t in TEMPERATURES
        ]


def adapters_of(served: Served) -> list[str]:
    """The names of all adapters that the server holds."""
    models = httpx.get(f"{served.url}/v1/models", timeout=30).json()["data"]
    return [model["id"] for model in models if model.get("parent") is not None]


def test_prompts_with_no_picture_one_and_three_are_read_as_the_trainer_reads_them(served: Served) -> None:
    """The engine compares all ids and raises EngineMismatch at the first difference."""
    with served.engine() as engine:
        engine.load(served.policy)
        responses = sampled(engine, served.queries(), temperature=1.0, tokens=2)
    assert [len(row.images) for row in rows()] == [0, 1, 3]
    assert len(responses.responses) == 4 * 3


def test_log_probabilities_are_the_trainers(served: Served) -> None:
    found = differences(served)
    print(f"untrained: {found}")
    assert max(found) < TOLERANCE


def test_log_probabilities_with_an_adapter_are_the_trainers(served: Served) -> None:
    served.policy.version = 1
    trembling(served.policy)
    found = differences(served)
    print(f"with an adapter: {found}")
    assert max(found) < TOLERANCE


def test_the_next_version_changes_log_probabilities_and_the_one_before_is_gone(served: Served) -> None:
    queries, policy = served.queries(), served.policy
    found: list[tuple[ResponseBatch, list[str]]] = []
    with served.engine() as engine:
        for version in (1, 2):
            policy.version = version
            trembling(policy)
            engine.load(policy)
            found.append((sampled(engine, queries, temperature=1.0), adapters_of(served)))
    (before, one), (after, two) = found
    assert [name.split("-")[0] for name in one] == ["real.run.v000001"]
    assert [name.split("-")[0] for name in two] == ["real.run.v000002"]
    assert float((before.engine_logprobs[:, 0] - after.engine_logprobs[:, 0]).abs().max()) > 1e-3
    assert adapters_of(served) == []  # the engine is closed
