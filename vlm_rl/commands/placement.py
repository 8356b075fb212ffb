"""Where a command runs: the device of this process, its rank and the number of ranks. All other code reads them here.

Lightning's Trainer reads `trainer.accelerator`, `devices`, `num_nodes` and the environment that torchrun or SLURM made; what
would not work, or would leave a GPU unused without a word, is said before anything is loaded.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import ModelParallelStrategy
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands.job_log import innermost

SHARDED = "fsdp2"
STRATEGIES = ("auto", "ddp", SHARDED)
PRECISIONS = ("32", "32-true")
GPU_WORDS = ("auto", "gpu", "cuda")  # of trainer.accelerator
ROOM = 1.2  # times the weights, for what a short answer computes
DRIVER = Path("/proc/driver/nvidia/version")  # there where Linux drives an NVIDIA GPU


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One process of a command: its device and its rank."""

    device: torch.device
    rank: int  # among all processes
    local_rank: int  # among the processes of this machine
    num_local_ranks: int
    num_nodes: int
    are_started: bool  # torchrun, SLURM or the first rank has started this process beside the others
    address: str = "127.0.0.1"  # of the first rank's machine, where others started the ranks
    port: int = 0

    @property
    def num_ranks(self) -> int:
        """All processes."""
        return self.num_nodes * self.num_local_ranks


def place(settings: DictConfig) -> Placement:
    """The placement of this process for `trainer` settings that passed checks.py."""
    trainer = trainer_of(settings)
    device: torch.device = trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    environment: ClusterEnvironment = getattr(trainer.strategy, "cluster_environment", None) or LightningEnvironment()
    environment.set_global_rank(environment.node_rank() * trainer.num_devices + environment.local_rank())  # others know theirs
    by_others = environment.creates_processes_externally
    return Placement(
        device=device,
        rank=environment.global_rank(),
        local_rank=environment.local_rank(),
        num_local_ranks=trainer.num_devices,
        num_nodes=trainer.num_nodes,
        are_started=by_others,
        address=environment.main_address if by_others else "127.0.0.1",
        port=environment.main_port if by_others else 0,
    )


def trainer_of(settings: DictConfig, **more: object) -> lightning.Trainer:
    """A trainer with these settings and `more`; raises ValueError where this machine has not the devices."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # what Lightning greets with; `remarks` has what a person should know
    try:
        made: lightning.Trainer = instantiate(
            settings,
            accelerator=accelerator_of(str(settings.accelerator)),
            plugins=[LightningEnvironment()] if _is_one_task_of_slurm() else None,
            **{"logger": False, "strategy": _strategy(settings)} | more,
        )
    except InstantiationException as error:
        why = innermost(error)
        if not isinstance(why, MisconfigurationException) and "devices" not in str(why):
            raise
        raise ValueError(
            f"trainer.accelerator={settings.accelerator} with trainer.devices={settings.devices} cannot be had on this machine: "
            f"{' '.join(str(why).split())} trainer.accelerator=auto takes what is there; without a GPU trainer.devices is a number of "
            "processes, as trainer.devices=1."
        ) from why
    finally:
        logging.disable(before)
    # Lightning's handlers broadcast from inside a signal, on one rank; callbacks/interruption.py listens instead.
    made._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return made


def is_sharded(settings: DictConfig) -> bool:
    """Whether each rank keeps a part of the model only; a single rank has nobody to share it with."""
    return str(settings.strategy) == SHARDED and ranks_of(settings) > 1


def _strategy(settings: DictConfig) -> str | ModelParallelStrategy:
    if is_sharded(settings):  # without the sizes Lightning would leave the data unsharded
        return ModelParallelStrategy(data_parallel_size=ranks_of(settings), tensor_parallel_size=1)
    return "auto" if str(settings.strategy) == SHARDED else str(settings.strategy)


def accelerator_of(name: str) -> str:
    """Resolve `auto`: an NVIDIA or AMD GPU where torch has one, else the CPU. Apple's GPUs have no float64."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name in GPU_WORDS and torch.cuda.is_available():
        return "cuda"
    if name == "mps" or (name == "gpu" and torch.backends.mps.is_available()):
        raise ValueError(
            f"trainer.accelerator={name} names an Apple GPU, which has no float64: draws and means over ranks are computed in it. "
            "trainer.accelerator=cpu trains on the processor of this machine."
        )
    return name


def check_strategy(cfg: DictConfig) -> None:
    """Refuse strategies that the update does not support: their gradients would not be those of the loss."""
    if str(cfg.trainer.strategy) not in STRATEGIES:
        raise ValueError(
            f"trainer.strategy={cfg.trainer.strategy} is not supported. trainer.strategy=auto or ddp keeps a whole copy of the model on "
            f"each device and shares out the questions; trainer.strategy={SHARDED} shares out the model, too."
        )
    if str(cfg.trainer.strategy) == SHARDED and cfg.model.get("quantization") is not None:
        raise ValueError(
            f"trainer.strategy={SHARDED} with model.quantization={cfg.model.quantization}: weights in 4 bits are not shared out over "
            "devices. Set model.quantization=null (each device then has a part of the bfloat16 weights), or trainer.strategy=ddp."
        )


def check_precision(cfg: DictConfig) -> None:
    """Refuse Lightning's precision: it would cast adapters too, or hold in the training step only."""
    precision = str(cfg.trainer.precision)
    if precision in PRECISIONS:
        return
    if precision.endswith("-true"):
        raise ValueError(
            f"trainer.precision={precision} would cast the trained weights too, which stay float32 here. "
            "Keep trainer.precision=32-true; the precision of the base weights is model.dtype, as in model.dtype=bfloat16."
        )
    raise ValueError(
        f"trainer.precision={precision} is not supported: evaluation would compute otherwise than training. Keep "
        "trainer.precision=32-true; model.autocast=true has adapters multiply in model.dtype."
    )


def check_processes(cfg: DictConfig) -> None:
    """Refuse processes of torchrun or SLURM that the trainer does not count: each would train the whole run."""
    starter, num_ranks = started_by_others(), ranks_of(cfg.trainer)
    if starter is not None and starter[1] != num_ranks:
        raise ValueError(
            f"{starter[0]} has {starter[1]} processes, but trainer.devices x trainer.num_nodes is {num_ranks}. "
            "Set trainer.devices to the processes of a machine and trainer.num_nodes to the machines, or start as many as that "
            "(torchrun --nproc-per-node, srun --ntasks-per-node)."
        )


def started_by_others() -> tuple[str, int] | None:
    """(torchrun or SLURM, number of processes) where it started this process with others, else None."""
    if TorchElasticEnvironment.detect():
        return "torchrun", int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect() and not _is_one_task_of_slurm():
        return "SLURM (SLURM_NTASKS)", int(os.environ["SLURM_NTASKS"])
    return None


def _is_one_task_of_slurm() -> bool:
    """A single task may have several GPUs: then the other ranks are started here, as without SLURM."""
    return SLURMEnvironment.detect() and os.environ["SLURM_NTASKS"] == "1" and not TorchElasticEnvironment.detect()


def remarks(placement: Placement, settings: DictConfig) -> Iterator[str]:
    """Sentences about devices that are here and not used."""
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if placement.device.type == "cuda" and placement.num_local_ranks < visible:
        yield (
            f"{visible} GPUs are visible, used: {placement.num_local_ranks}. trainer.devices={visible} trains one run on all; "
            "launchers/this_machine.sh gives each run of a study a GPU of its own."
        )
    if placement.device.type == "cpu" and visible:
        yield f"trainer.accelerator={settings.accelerator}: the CPU computes, and none of the {visible} visible GPUs."
    if placement.device.type != "cpu" or visible or settings.accelerator != "auto":
        return
    if torch.backends.mps.is_available():
        yield "The CPU computes: the Apple GPU of this machine has no float64, which draws and means over ranks need."
    elif DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        yield (
            "The CPU computes: this machine has an NVIDIA driver, but torch finds no GPU that it can use. "
            "See what `python -c 'import torch; torch.zeros(1).cuda()'` says, and CUDA_VISIBLE_DEVICES."
        )


def with_room(accelerator: str, *, num_bytes: int) -> torch.device:
    """The GPU if it has room for a model of `num_bytes`, else the CPU; a sentence is printed where a GPU is too small."""
    if accelerator_of(accelerator) != "cuda":
        return torch.device("cpu")
    device = torch.device("cuda", torch.cuda.current_device())
    free = torch.cuda.mem_get_info(device)[0]
    if free > ROOM * num_bytes:
        return device
    print(
        f"The CPU computes: {num_bytes / 2**30:.1f} GiB of weights do not fit in the {free / 2**30:.1f} GiB that are free on the GPU."
    )
    return torch.device("cpu")


def ranks_of(trainer: DictConfig) -> int:
    """Ranks that a run would have."""
    plain = OmegaConf.to_container(trainer, resolve=True)
    assert isinstance(plain, dict)
    return num_ranks(devices=plain["devices"], num_nodes=plain["num_nodes"], accelerator=str(plain["accelerator"]))


def num_ranks(*, devices: object, num_nodes: int, accelerator: str) -> int:
    """Ranks of a run: trainer.devices may be a number, a list, a list in a word, or words for all there are."""
    if isinstance(devices, str) and re.fullmatch(r"\d+(,\d+)*,?", devices):
        devices = [int(number) for number in devices.split(",") if number] if "," in devices else int(devices)
    if isinstance(devices, int) and devices > 0:
        return devices * num_nodes
    if isinstance(devices, list | tuple):
        return len(devices) * num_nodes
    on_gpus = accelerator in GPU_WORDS and torch.cuda.is_available()
    return (torch.cuda.device_count() if on_gpus else 1) * num_nodes
