"""How much of a GPU a server may take beside the trainer: all but what preflight predicts of a trainer that does not sample.

The GPU is the one of this machine, or preflight.device_memory says how large it is.
"""

import math

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.preflight import policy_of, rows_of
from vlm_rl.commands.preflight_estimate import phases_of, workload_of
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.preflight.device import num_bytes
from vlm_rl.preflight.estimate_page import size
from vlm_rl.preflight.workload import prompt_sizes

BESIDE = 1.1  # of the predicted peak: what preflight does not count, and gaps of the allocator
LEAST = 0.2  # of a GPU: with less a server has hardly room for a cache
MOST = 0.9  # vLLM's own default; the CUDA contexts of both processes need the rest


def memory_share(cfg: DictConfig, dataset: Dataset) -> str:
    """Two digits for --gpu-memory-utilization."""
    total = _total_bytes(cfg)
    return f"{share_beside(_peak_bytes(cfg, dataset), total=total):.2f}"


def share_beside(peak: int, *, total: int) -> float:
    """Of a GPU with `total` bytes, beside a trainer that needs `peak` bytes: rounded down to two digits."""
    share = math.floor(100 * (total - BESIDE * peak) / total) / 100
    if share < LEAST:
        raise ValueError(
            f"The trainer needs {size(peak)} of the {size(total)} of this GPU, which leaves too little for a server beside it. Make the "
            "trainer smaller (preflight=true rollout=vllm says by what), or give the server a GPU of its own."
        )
    return min(MOST, share)


def _total_bytes(cfg: DictConfig) -> int:
    if cfg.preflight.device_memory is not None:
        return num_bytes(cfg.preflight.device_memory)
    if not torch.cuda.is_available():
        raise ValueError(
            "MEMORY_SHARE=auto is a part of a GPU, and no GPU is here. Say how large it is by preflight.device_memory=80GiB, "
            "or give the share itself, as MEMORY_SHARE=0.5."
        )
    return int(torch.cuda.get_device_properties(0).total_memory)


def _peak_bytes(cfg: DictConfig, dataset: Dataset) -> int:
    """Of the trainer, in the phase that needs most."""
    algorithm: Algorithm = instantiate(cfg.algorithm)
    policy = policy_of(cfg)
    prompts = prompt_sizes(dataset, rows_of(cfg, dataset, algorithm, policy, instantiate(cfg.reward)))
    if prompts is None:
        raise ValueError("No row of the data set can be used, so what the trainer needs is not known. preflight=true says why.")
    workload = workload_of(cfg, dataset, algorithm, prompts=prompts, on_gpu=True)
    try:
        phases = phases_of(cfg, policy, workload)
    except Exception as error:  # a model may do what fake tensors cannot
        raise ValueError(
            f"What the trainer needs could not be predicted ({type(error).__name__}: {error}). "
            "Give the share yourself, as MEMORY_SHARE=0.5."
        ) from error
    return max(phase.total for phase in phases)
