"""Memory and time of a run, from its config and from how long its prompts are: the numbers that the estimates need."""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import RenderableType

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.placement import ranks_of
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.evaluation.evaluator import Scheme
from vlm_rl.models.policy import Policy
from vlm_rl.preflight.data_page import Verdict
from vlm_rl.preflight.device import device_of, measured
from vlm_rl.preflight.estimate_page import judge_room, memory_table, not_counted, time_lines
from vlm_rl.preflight.memory import trace
from vlm_rl.preflight.shapes import PromptShape, Workload
from vlm_rl.preflight.steps import Steps
from vlm_rl.preflight.time_estimate import RunLength, duration

TRACED = ("sdpa", "eager")  # of model.attention: the kernels of others cannot be run on shadows


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What the check of the rows says of the prompts."""

    longest: PromptShape
    typical: PromptShape
    image_tokens: int  # of all training rows


def estimates(
    cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, prompted: Prompted, verdict: Verdict
) -> Iterator[RenderableType]:
    """Tables of memory and time, and what they say of the run."""
    device = device_of(str(cfg.trainer.accelerator), memory=cfg.preflight.device_memory)
    ranks = ranks_of(cfg.trainer)
    workload = workload_of(cfg, dataset, algorithm, prompted=prompted, ranks=ranks, on_gpu=device.on_gpu)
    make = functools.partial(
        instantiate,
        cfg.model,
        temperature=cfg.rollout.temperature,
        seed=cfg.seed,
        untrained=True,
        attention=traced_attention(cfg.model.attention),
    )
    try:
        traced = trace(make, workload=workload)
    except Exception as error:  # a model may do what shadows cannot; the run itself may well work
        if os.environ.get("VLM_RL_TRACEBACK"):
            raise
        yield f"No estimate of memory and time: {type(error).__name__}: {error} (VLM_RL_TRACEBACK=1 shows where.)"
        verdict.reservations.append(f"memory and time were not estimated ({type(error).__name__})")
        return
    yield memory_table(traced.memory, device=device)
    yield not_counted(device)
    yield from not_estimated(cfg, ranks=ranks)
    yield from judge_room(traced.memory, device=device, verdict=verdict)
    if not device.is_here:
        yield "No estimate of time: it is measured on the device itself, and no GPU is here."
        return
    kept = _are_kept(traced.policy, prompted.image_tokens // ranks, cache_bytes=cfg.model.vision_cache)
    length = length_of(cfg, dataset, algorithm, ranks=ranks, features_are_kept=kept)
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in traced.policy.vlm.parameters()})
    with _threads(cfg.num_threads):
        machine = measured(device.device, dtypes=dtypes)
    yield from time_lines(duration(traced.phases, workload=workload, length=length, machine=machine))


def traced_attention(attention: str) -> str:
    """What memory and time are estimated with."""
    return attention if attention in TRACED else "sdpa"


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """As the run would have them."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def not_estimated(cfg: DictConfig, *, ranks: int) -> Iterator[str]:
    """Where the run is set to something else than what was traced."""
    if cfg.model.attention not in TRACED:
        yield f"Memory and time are those of model.attention=sdpa; what {cfg.model.attention} takes was not estimated."
    strategy = str(cfg.trainer.strategy)
    if ranks > 1 and not strategy.startswith(("auto", "ddp")):
        yield f"Memory and time are those of DDP on {ranks} ranks; what trainer.strategy={strategy} takes was not estimated."


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
        surplus=max(0, algorithm.queries_of_step(dataset.batch_size) // ranks - max(1, dataset.batch_size // ranks)),
        group_size=algorithm.group_size,
        num_minibatches=algorithm.num_minibatches,
        ppo_epochs=algorithm.ppo_epochs,
        forward_batch_size=max(engine.get("forward_batch_size", 1) for engine in engines),  # a server has its own
        needs_old_logprobs=algorithm.needs_old_logprobs,
        needs_reference=algorithm.needs_reference,
        num_ranks=ranks,
        on_gpu=on_gpu,
    )


def length_of(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, ranks: int, features_are_kept: bool) -> RunLength:
    """How often a rank does what, over the whole run; the vanilla model is evaluated too."""
    scheme: Scheme = instantiate(cfg.evaluation.scheme)
    rows = {split: len(dataset.split(split)) for split in scheme.splits}
    return RunLength(
        num_steps=Steps.of(dataset, algorithm).generation_steps,
        writes_responses=algorithm.learns_from_own_responses,
        num_rows=len(dataset.train) // ranks,
        features_are_kept=features_are_kept,
        num_evaluations=1 + dataset.epochs // scheme.every_epochs,
        evaluated_rows=sum(rows[split] for split, _ in scheme.cells) // ranks,
        evaluated_responses=sum(rows[split] * setting.num_samples for split, setting in scheme.cells) // ranks,
    )


def _are_kept(policy: Policy, image_tokens: int, *, cache_bytes: int) -> bool:
    """Whether the vision cache has room for the features of all training rows."""
    head: torch.Tensor = policy.vlm.get_output_embeddings().weight
    return policy.encodes_images_once and image_tokens * head.shape[1] * head.element_size() <= cache_bytes
