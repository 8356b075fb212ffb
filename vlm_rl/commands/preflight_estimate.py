"""Memory and time of a run, from its config and from how long its prompts are: the numbers that the estimates need."""

import os
from collections.abc import Iterator

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import RenderableType

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import plain
from vlm_rl.commands.placement import is_sharded, ranks_of
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.evaluation.evaluator import Scheme
from vlm_rl.models.attention import by_config, portable
from vlm_rl.models.policy import Policy
from vlm_rl.preflight.data_page import Verdict
from vlm_rl.preflight.device import device_of, measured
from vlm_rl.preflight.estimate_page import judge_room, memory_table, not_counted, time_lines
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.phases import trace
from vlm_rl.preflight.sharded_memory import shared_out, sizes_of
from vlm_rl.preflight.time_estimate import RunLength, duration
from vlm_rl.preflight.workload import PromptSizes, Workload


def estimates(
    cfg: DictConfig, policy: Policy, dataset: Dataset, algorithm: Algorithm, *, prompts: PromptSizes, verdict: Verdict
) -> Iterator[RenderableType]:
    """Tables of memory and time, and what they say of the run. `policy` is on the meta device."""
    device = device_of(str(cfg.trainer.accelerator), memory=cfg.preflight.device_memory)
    workload = workload_of(cfg, dataset, algorithm, prompts=prompts, on_gpu=device.on_gpu)
    asked = plain(cfg.model)["attention"]
    try:
        traced = phases_of(cfg, policy, workload)
    except Exception as error:  # a model may do what fake tensors cannot; the run itself may well work
        if os.environ.get("VLM_RL_TRACEBACK"):
            raise
        yield f"No estimate of memory and time: {type(error).__name__}: {error} (VLM_RL_TRACEBACK=1 shows where.)"
        verdict.reservations.append(f"memory and time were not estimated ({type(error).__name__})")
        return
    yield from (memory_table(traced, device=device), not_counted(device))
    if portable(asked) != asked:
        yield f"Memory and time are those of model.attention={portable(asked)}; what {asked} takes was not estimated."
    yield from judge_room(traced, device=device, verdict=verdict)
    if not device.is_here:
        yield "No estimate of time: it is measured on the device itself, and no GPU is here."
        return
    if workload.forward_batch_size is None:
        yield "No estimate of time: servers sample, and how fast they are is not known here."
        return
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in policy.vlm.parameters() if p.is_floating_point()})
    machine = measured(device.device, dtypes=dtypes, num_threads=cfg.num_threads or torch.get_num_threads())
    head: torch.Tensor = policy.vlm.get_output_embeddings().weight
    num_image_tokens = workload.prompts.mean.image * len(dataset.train) // workload.num_ranks
    feature_bytes = num_image_tokens * head.shape[1] * head.element_size()
    is_cached = policy.encodes_images_once and feature_bytes <= cfg.model.vision_cache
    length = length_of(cfg, workload, features_are_cached=is_cached)
    estimate = duration(traced, workload=workload, length=length, machine=machine)
    devices = workload.num_ranks if device.on_gpu else 1
    verdict.known["device_hours"] = [float(seconds) * devices / 3600 for seconds in estimate.run]
    verdict.known["tokens"] = [float(length.num_steps * workload.num_responses * workload.num_ranks * dataset.max_new_tokens)]
    yield from time_lines(estimate)


def workload_of(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, prompts: PromptSizes, on_gpu: bool) -> Workload:
    """What one rank does in a generation step. Servers sample in memory of their own."""
    engines = (cfg.rollout.engine, cfg.rollout.evaluation_engine)
    return Workload(
        dataset=dataset,
        algorithm=algorithm,
        prompts=prompts,
        forward_batch_size=max(
            (engine.forward_batch_size for engine in engines if "forward_batch_size" in engine), default=None
        ),
        num_ranks=ranks_of(cfg.trainer),
        on_gpu=on_gpu,
    )


def phases_of(cfg: DictConfig, policy: Policy, workload: Workload) -> list[Phase]:
    """The phases of a generation step. `policy` is on the meta device."""
    asked = plain(cfg.model)["attention"]
    if portable(asked) != asked:  # the kernels of others do not take fake tensors
        policy.vlm.set_attn_implementation(by_config(portable(asked), policy.vlm.config))
    sizes = sizes_of(policy)
    phases = trace(policy, workload=workload)
    return shared_out(phases, sizes, num_ranks=workload.num_ranks) if is_sharded(cfg.trainer) else phases


def length_of(cfg: DictConfig, workload: Workload, *, features_are_cached: bool) -> RunLength:
    """How often a rank does what, over the whole run; the vanilla model is evaluated too."""
    scheme: Scheme = instantiate(cfg.evaluation.scheme)
    dataset, ranks = workload.dataset, workload.num_ranks
    rows = {split: len(dataset.split(split)) for split in scheme.splits}
    num_steps = len(dataset.train) // workload.algorithm.queries_of_step(dataset.batch_size) * dataset.epochs
    return RunLength(
        num_steps=num_steps,
        encoded_prompts=len(dataset.train) // ranks if features_are_cached else num_steps * workload.num_queries,
        num_evaluations=1 + dataset.epochs // scheme.every_epochs,
        evaluated_rows=sum(rows.values()) // ranks,
        evaluated_responses=sum(rows[split] * setting.num_samples for split, setting in scheme.cells) // ranks,
    )
