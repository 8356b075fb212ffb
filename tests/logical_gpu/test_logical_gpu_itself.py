"""The logical GPU finds what it is there to find, and nothing in what CUDA would do."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from logical.findings import Findings
from logical.gpu import group_of_one, logical_gpu
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlm_rl.masking import pooled_mean, response_mean_weights

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
HERE = Path(__file__)


@pytest.fixture
def found() -> Iterator[Findings]:
    """What the logical GPU sees while a test runs on it."""
    with group_of_one(), logical_gpu() as findings:
        yield findings


def numbers() -> Tensor:
    """Some, on the GPU."""
    return torch.arange(6.0, device="cuda").view(2, 3)


REFUSED: dict[str, Callable[[], object]] = {
    "a sum over two devices": lambda: numbers() + torch.ones(2, 3),
    "a number without axes among those that are put together": lambda: torch.stack([numbers().sum(), torch.tensor(1.0)]),
    "a CPU tensor indexed by the GPU": lambda: torch.ones(2, 3)[torch.zeros(1, dtype=torch.long, device=GPU)],
    "CPU numbers written into the GPU": lambda: numbers().index_put_(
        (torch.zeros(2, dtype=torch.long, device=GPU),), torch.ones(2, 3)
    ),
    "an embedding of CPU ids": lambda: nn.functional.embedding(torch.zeros(2, dtype=torch.long), numbers()),
    "a matrix product on the CPU": lambda: torch.ones(2, 3) @ torch.ones(3, 2),
    "numpy": lambda: numbers().numpy(),
    "a collective of a CPU tensor": lambda: dist.all_reduce(torch.ones(2)),
}
WAITS: dict[str, Callable[[], object]] = {
    "item": lambda: numbers().sum().item(),
    "an if": lambda: bool(numbers().sum() > 0),
    "tolist": lambda: numbers().tolist(),
    "to": lambda: numbers().to("cpu"),
    "a copy into the CPU": lambda: torch.empty(2, 3).copy_(numbers()),
    "nonzero": lambda: numbers().nonzero(),
    "a mask as index": lambda: numbers()[numbers() > 2],
    "equal": lambda: torch.equal(numbers(), numbers()),
    "repeats by a tensor": lambda: numbers().repeat_interleave(torch.tensor([1, 2], device=GPU), dim=0),
    "synchronize": lambda: torch.cuda.synchronize(),
}
CLEAN: dict[str, Callable[[], object]] = {
    "a CPU number without axes": lambda: numbers() * torch.tensor(2.0) + torch.where(numbers() > 0, torch.tensor(1.0), 0.0),
    "one number under a mask": lambda: numbers().masked_fill(numbers() > 2, 0).__setitem__(numbers() > 1, 5.0),
    "repeats by a number": lambda: numbers().repeat_interleave(2, dim=0),
    "a GPU index": lambda: numbers()[torch.tensor([0], device=GPU)],
    "objects of all ranks": lambda: dist.all_gather_object([None], 1),
    "a collective of the GPU": lambda: dist.all_reduce(numbers()),
}


def line_of(case: Callable[[], object]) -> str:
    """Where a case of a table above stands."""
    return f"tests/logical_gpu/{HERE.name}:{inspect.getsourcelines(case)[1]} in <lambda>"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_a_fault_with_file_and_line(name: str, found: Findings) -> None:
    try:
        REFUSED[name]()
    finally:
        assert [text.split(" @ ")[1] for text in found.faults] == [line_of(REFUSED[name])]


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_for_the_gpu_is_told_with_file_and_line(name: str, found: Findings) -> None:
    WAITS[name]()
    assert [text.split(" @ ")[1] for text in found.in_libraries] == [line_of(WAITS[name])]  # a test is no part of the package
    assert found.faults == {}


@pytest.mark.parametrize("name", CLEAN)
def test_what_cuda_does_without_waiting_is_clean(name: str, found: Findings) -> None:
    CLEAN[name]()
    assert (dict(found.faults), dict(found.in_libraries)) == ({}, {})


def test_a_wait_of_the_package_is_told_by_its_function(found: Findings) -> None:
    mask = numbers() > 2
    weights = response_mean_weights(mask)  # typed: shapes are checked on the logical GPU too
    assert weights.device == GPU
    pooled_mean(weights, mask)
    assert {text.split(" | ")[0] for text in found.host_values} == {"masking.py:pooled_mean"}


def test_views_copies_and_changes_in_place_stay_on_the_gpu(found: Findings) -> None:
    whole = numbers()
    whole[0, 1] = 7
    whole += 1
    made = [whole[0], whole.T, whole.detach(), whole.clone(), whole.double(), whole.new_zeros(2), whole.new_tensor([1.0])]
    made += [torch.zeros_like(whole), whole.to(torch.bfloat16), *whole.unbind(), nn.Parameter(whole), torch.cat([whole, whole])]
    assert {tensor.device for tensor in made} == {GPU}
    assert all(tensor.is_cuda and not tensor.is_cpu and tensor.get_device() == 0 for tensor in made)
    off = [torch.zeros(2), whole.new_zeros(2, device="cpu"), torch.zeros_like(whole, device="cpu"), whole.cpu()]
    assert {tensor.device for tensor in off} == {CPU}
    assert whole.cpu() is not whole and whole.to("cuda") is whole


@pytest.mark.parametrize("kind", ["plain", "computed again"])
def test_a_training_step_stays_on_the_gpu_from_gradients_to_moments(kind: str, found: Findings) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).to("cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    seen: list[torch.device] = []

    def forward(values: Tensor) -> Tensor:
        seen.append(values.device)
        return model(values)

    output = forward(numbers()) if kind == "plain" else checkpoint(forward, numbers(), use_reentrant=False)
    output.square().sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert seen == [GPU] * (1 if kind == "plain" else 2)  # the second time inside of the backward pass
    assert {parameter.grad.device for parameter in model.parameters() if parameter.grad is not None} == {GPU}
    assert {name: value.device for name, value in optimizer.state[model[0].weight].items()} == {
        "step": CPU,
        "exp_avg": GPU,
        "exp_avg_sq": GPU,
    }
    assert (dict(found.faults), dict(found.in_libraries)) == ({}, {})


def test_a_fault_where_activations_are_computed_again_is_found(found: Findings) -> None:
    weight, devices = nn.Parameter(numbers()), [GPU, CPU]

    def forward(values: Tensor) -> Tensor:
        return (values * weight + torch.ones(2, 3, device=devices.pop(0))).exp()

    checkpoint(forward, numbers(), use_reentrant=False).sum().backward()
    (fault,) = found.faults
    assert "aten.add.Tensor" in fault and fault.endswith("in " + forward.__qualname__)


def test_a_file_keeps_the_device_and_a_map_location_changes_it(found: Findings, tmp_path: Path) -> None:
    torch.save({"gpu": numbers(), "cpu": torch.ones(2)}, tmp_path / "state.pt")
    for location, expected in ((None, [GPU, CPU]), ("cpu", [CPU, CPU]), (GPU, [GPU, GPU])):
        loaded = torch.load(tmp_path / "state.pt", map_location=location, weights_only=True)
        assert [tensor.device for tensor in loaded.values()] == expected


def test_autocast_acts_and_generators_draw(found: Findings) -> None:
    layer = nn.Linear(3, 2).to("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cuda")
        assert layer(numbers()).dtype == torch.bfloat16
    generator = torch.Generator("cuda").manual_seed(0)
    assert torch.rand(2, generator=generator, device="cuda").device == GPU


def test_outside_of_it_there_is_no_gpu() -> None:
    before = torch.cuda.is_available()
    with logical_gpu():
        tensor = numbers()
        assert torch.cuda.is_available() and tensor.device == GPU
    assert tensor.device == CPU
    assert torch.cuda.is_available() == before
