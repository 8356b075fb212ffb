"""Where a command runs, for machines that are not this one: what is taken, what is said, what is refused before anything loads."""

import pytest
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from omegaconf import DictConfig

from vlm_rl.commands import placement
from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import checked_placement
from vlm_rl.commands.placement import Placement, accelerator_of, place, remarks, with_room
from vlm_rl.commands.rank_group import joined

CPU = torch.device("cpu")


def settings(*overrides: str) -> DictConfig:
    """The `trainer` settings of a command line."""
    trainer: DictConfig = composed(list(overrides)).trainer
    return trainer


def on(device: str, *, num_local_ranks: int = 1) -> Placement:
    """The first process of a command there."""
    return Placement(
        device=torch.device(device), rank=0, local_rank=0, num_local_ranks=num_local_ranks, num_nodes=1, are_started=False
    )


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A machine with so many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an Apple GPU."""
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_auto_takes_a_gpu_where_there_is_one_and_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    assert (accelerator_of("auto"), accelerator_of("gpu"), accelerator_of("cpu")) == ("cuda", "cuda", "cpu")
    gpus(monkeypatch, 0)
    assert accelerator_of("auto") == "cpu"


def test_auto_takes_the_cpu_on_an_apple_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    apple(monkeypatch)
    assert accelerator_of("auto") == "cpu"
    (said,) = remarks(on("cpu"), settings())
    assert said.startswith("The CPU computes: the Apple GPU of this machine has no float64")


@pytest.mark.parametrize("name", ["mps", "gpu"])
def test_an_apple_gpu_that_is_asked_for_is_refused_with_the_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apple(monkeypatch)
    with pytest.raises(ValueError, match=rf"trainer.accelerator={name} names an Apple GPU, which has no float64"):
        accelerator_of(name)


def test_one_of_eight_gpus_is_not_used_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 8)
    (said,) = remarks(on("cuda:0"), settings())
    assert said.startswith("8 GPUs are visible, used: 1. trainer.devices=8 trains one run on all")
    assert not list(remarks(on("cuda:0", num_local_ranks=8), settings("trainer.devices=8")))


def test_the_cpu_is_not_used_beside_a_gpu_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    (said,) = remarks(on("cpu"), settings("trainer.accelerator=cpu"))
    assert said == "trainer.accelerator=cpu: the CPU computes, and none of the 2 visible GPUs."


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    gpus(monkeypatch, 0)
    monkeypatch.setattr(placement, "DRIVER", tmp_path_factory.mktemp("proc"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (said,) = remarks(on("cpu"), settings())
    assert "this machine has an NVIDIA driver, but torch finds no GPU" in said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert not list(remarks(on("cpu"), settings()))


def test_on_a_machine_without_gpus_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert not list(remarks(on("cpu"), settings()))


def test_a_model_that_is_too_large_for_the_gpu_is_merged_on_the_cpu_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 24 * 2**30))
    assert with_room("auto", num_bytes=8 * 2**30) == torch.device("cuda", 0)
    assert with_room("auto", num_bytes=9 * 2**30) == CPU
    assert capsys.readouterr().out == (
        "The CPU computes: 9.0 GiB of weights do not fit in the 10.0 GiB that are free on the GPU.\n"
    )
    assert with_room("cpu", num_bytes=1) == CPU


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp is not supported. trainer.strategy=auto or ddp"),
        ("trainer.strategy=deepspeed_stage_2", "trainer.strategy=deepspeed_stage_2 is not supported"),
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn is not supported"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true would cast the trained weights too"),
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed is not supported"),
        ("trainer.accelerator=cuda", "trainer.accelerator=cuda with trainer.devices=1 cannot be had on this machine"),
        ("trainer.devices=-1", r"trainer.devices=-1 cannot be had .* without a GPU trainer.devices is a number of processes"),
        ("trainer.devices=[1,3]", r"trainer.devices=\[1, 3\] cannot be had on this machine"),
    ],
)
def test_what_cannot_run_here_is_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_placement("train", composed([override]))


def test_ranks_that_nobody_has_started_are_told_from_those_that_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = place(settings("trainer.devices=2"))
    assert (mine.num_ranks, mine.rank, mine.are_started) == (2, 0, False)
    monkeypatch.setattr(TorchElasticEnvironment, "detect", lambda: True)
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    started = place(settings("trainer.devices=2", "trainer.num_nodes=2"))
    assert (started.num_ranks, started.rank, started.local_rank, started.are_started) == (4, 3, 1, True)
    with pytest.raises(ValueError, match=r"torchrun has 4 processes, but trainer.devices x trainer.num_nodes is 1"):
        checked_placement("train", composed([]))


def test_a_single_task_of_slurm_with_several_gpus_starts_its_own_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "study", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    mine = place(settings("trainer.devices=2"))
    assert (mine.num_ranks, mine.are_started) == (2, False)


def test_an_error_of_one_rank_ends_its_process_and_not_only_its_job_of_a_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra goes on to the next job after any Exception; the other ranks would still be in this one."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    theirs = Placement(device=CPU, rank=1, local_rank=1, num_local_ranks=2, num_nodes=1, are_started=True)
    with pytest.raises(SystemExit) as ended, joined(theirs, again=()):
        raise ValueError("dataset.epochs=0 is no number of epochs.")
    assert ended.value.code == 2
    assert "Error: dataset.epochs=0 is no number of epochs." in capsys.readouterr().err


@pytest.mark.parametrize(("devices", "ranks"), [(4, 8), ([0, 2, 3], 6), ("0,2,3", 6), ("auto", 2), (-1, 2)])
def test_ranks_are_devices_times_nodes(devices: object, ranks: int) -> None:
    assert placement.num_ranks(devices=devices, num_nodes=2, accelerator="cpu") == ranks
