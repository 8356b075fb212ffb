"""Memory and time of a run, from its config and from how long its prompts are: the numbers that the estimates need."""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import RenderableType

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.evaluation.evaluator import Scheme
from vlm_rl.models.policy import Policy
from vlm_rl.preflight.device import device_of, num_ranks
from vlm_rl.preflight.estimate_page import memory_table, time_lines, too_large
from vlm_rl.preflight.machine import measured
from vlm_rl.preflight.memory import trace
from vlm_rl.preflight.shapes import PromptShape
from vlm_rl.preflight.time_estimate import RunLength, duration
from vlm_rl.preflight.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What the check of the rows says of the prompts."""

    longest: PromptShape
    typical: PromptShape
    image_tokens: int  # of all training rows


def estimates(
    cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, prompted: Prompted, problems: list[str]
) -> Iterator[RenderableType]:
    """Tables of memory and time. A run that would not fit is a problem."""
    device = device_of(str(cfg.trainer.accelerator))
    ranks = _ranks(cfg.trainer)
    workload = workload_of(cfg, dataset, algorithm, prompted=prompted, ranks=ranks, on_gpu=device.device.type == "cuda")
    make = functools.partial(
        instantiate, cfg.model, temperature=cfg.rollout.temperature, seed=cfg.seed, untrained=True, attention="sdpa"
    )
    try:
        traced = trace(make, workload=workload)
    except Exception as error:  # a model may do what shadows cannot; the run itself may well work
        if os.environ.get("VLM_RL_TRACEBACK"):
            raise
        yield f"No estimate of memory and time: {type(error).__name__}: {error} (VLM_RL_TRACEBACK=1 shows where.)"
        return
    yield memory_table(traced.memory, device=device)
    problems += filter(None, [too_large(traced.memory, device=device)])
    kept = _are_kept(traced.policy, prompted.image_tokens // ranks, cache_bytes=cfg.model.vision_cache)
    length = length_of(cfg, dataset, ranks=ranks, features_are_kept=kept)
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in traced.policy.vlm.parameters()})
    machine = measured(device.device, dtypes=dtypes)
    yield from time_lines(duration(traced.phases, workload=workload, length=length, machine=machine))


def workload_of(
    cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, prompted: Prompted, ranks: int, on_gpu: bool
) -> Workload:
    """One rank's share of a generation step."""
    engines = (cfg.rollout.engine, cfg.rollout.evaluation_engine)
    return Workload(
        longest=prompted.longest,
        typical=prompted.typical,
        max_new_tokens=dataset.max_new_tokens,
        batch_size=max(1, dataset.batch_size // ranks),
        group_size=algorithm.group_size,
        num_minibatches=algorithm.num_minibatches,
        ppo_epochs=algorithm.ppo_epochs,
        forward_batch_size=max(engine.get("forward_batch_size", 1) for engine in engines),  # a server has its own
        needs_old_logprobs=algorithm.needs_old_logprobs,
        needs_reference=algorithm.needs_reference,
        on_gpu=on_gpu,
    )


def length_of(cfg: DictConfig, dataset: Dataset, *, ranks: int, features_are_kept: bool) -> RunLength:
    """How often a rank does what, over the whole run; the untrained model is evaluated too."""
    scheme: Scheme = instantiate(cfg.evaluation.scheme)
    rows = {split: len(dataset.split(split)) for split in scheme.splits}
    return RunLength(
        num_steps=dataset.num_steps,
        num_rows=len(dataset.train) // ranks,
        features_are_kept=features_are_kept,
        num_evaluations=1 + dataset.epochs // scheme.every_epochs,
        evaluated_rows=sum(rows[split] for split, _ in scheme.cells) // ranks,
        evaluated_responses=sum(rows[split] * setting.num_samples for split, setting in scheme.cells) // ranks,
    )


def _ranks(trainer: DictConfig) -> int:
    plain = OmegaConf.to_container(trainer, resolve=True)
    assert isinstance(plain, dict)
    return num_ranks(devices=plain["devices"], num_nodes=plain["num_nodes"], accelerator=str(plain["accelerator"]))


def _are_kept(policy: Policy, image_tokens: int, *, cache_bytes: int) -> bool:
    """Whether the vision cache has room for the features of all training rows."""
    head: torch.Tensor = policy.vlm.get_output_embeddings().weight
    looks_once = policy.vision_is_frozen and policy.takes_features
    return looks_once and image_tokens * head.shape[1] * head.element_size() <= cache_bytes
