"""`python train.py ... preflight=true`: what a run would meet, from its data and its model's config. No weights, no GPU time."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console, RenderableType
from transformers import AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.checks import Objects, refusals, refuse
from vlm_rl.commands.errors import EXIT_CODE
from vlm_rl.commands.known_warnings import silence_known_warnings
from vlm_rl.commands.preflight_estimate import Prompted, estimates, traced_attention
from vlm_rl.commands.preflight_jobs import jobs
from vlm_rl.commands.resolvers import variant
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.models import parts
from vlm_rl.models.config_keys import as_model_attention
from vlm_rl.models.loading import check_weights, load_config, load_processor, resolve
from vlm_rl.models.optimization import Optimization
from vlm_rl.models.parts import part_table
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.data_page import Verdict, data_page
from vlm_rl.preflight.scan import DataCheck, RowScan, keep
from vlm_rl.preflight.shapes import longest, typical
from vlm_rl.preflight.steps import Steps
from vlm_rl.rewards.reward import Reward

WIDTH_IN_FILES = 140


def main() -> None:
    """Every setting that the command line stands for; exit code 2 where one of them could not be trained."""
    silence_known_warnings()
    verdicts = [preflight(job.cfg, title=variant(job.overrides)) for job in jobs(sys.argv[1:])]
    if any(verdict.problems for verdict in verdicts):
        sys.exit(EXIT_CODE)


def preflight(cfg: DictConfig, *, title: str) -> Verdict:
    """Prints all that is known of a run before it begins. Writes nothing but the cache."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    tables = Console(width=None if console.is_terminal else WIDTH_IN_FILES, markup=False, highlight=False)
    begun = time.perf_counter()
    refuse("preflight", "settings", cfg)
    console.print(f"Preflight of {title}: model.name={cfg.model.name}, dataset.name={cfg.dataset.name}")
    verdict = Verdict()
    for piece in _pieces(cfg, verdict=verdict):
        (console if isinstance(piece, str) else tables).print(piece)
    console.print(f"Looked at in {time.perf_counter() - begun:.0f} s.")
    console.print(verdict.sentence)
    return verdict


def _pieces(cfg: DictConfig, *, verdict: Verdict) -> Iterator[RenderableType]:
    """In reading order, each as soon as it is known."""
    verdict.problems.extend(refusals("preflight", "machine", cfg))
    algorithm: Algorithm = instantiate(cfg.algorithm)
    refuse("preflight", "algorithm", cfg, algorithm)
    reward: Reward = instantiate(cfg.reward)
    dataset: Dataset = instantiate(cfg.dataset)
    optimization: Optimization = instantiate(cfg.model.optimization)
    processor = load_processor(cfg.model.name, cfg.model.processor)
    vlm = _model(cfg)
    check = _checked(cfg, dataset, algorithm, processor, reward)
    yield from data_page(dataset, check)
    verdict.problems.extend(
        f"{found.num_bad:,} of {found.num_rows:,} rows of {split} cannot be used: mend them, or set dataset.on_bad_row=skip."
        for split, found in check.splits.items()
        if found.num_bad and dataset.on_bad_row == "error"
    )
    shapes = longest(dataset, check), typical(dataset, check)
    keep(dataset, check)
    yield part_table(parts.sizes(vlm), rates=optimization.rates(parts.trained(vlm)))
    yield from Steps.of(dataset, algorithm).lines()
    verdict.problems.extend(_refusals(cfg, _built(cfg, dataset, algorithm, vlm=vlm)))
    if shapes[0] is None or shapes[1] is None:
        verdict.reservations.append("memory and time were not estimated (no row can be used)")
        return
    image_tokens = int(check.splits["train"].image_tokens.sum())
    prompted = Prompted(longest=shapes[0], typical=shapes[1], image_tokens=image_tokens)
    yield from estimates(cfg, dataset, algorithm, prompted=prompted, verdict=verdict)


def _model(cfg: DictConfig) -> PreTrainedModel:
    """The right shapes, dtypes and adapters on the meta device; what `Policy` refuses is refused here with the same words."""
    model, is_here = cfg.model, cfg.preflight.device_memory is None
    if not model.untrained:
        check_weights(Path(resolve(model.name)))
    attention = model.attention if is_here else traced_attention(model.attention)  # whose library need not be here
    config = load_config(model.name)
    with as_model_attention(attention, config), torch.device("meta"):
        vlm: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=getattr(torch, model.dtype), attn_implementation=attention
        )
        parts.prepare(vlm, freeze=list(model.freeze), lora=instantiate(model.lora), seed=cfg.seed)
    return vlm


def _checked(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, processor: ProcessorMixin, reward: Reward) -> DataCheck:
    learns_solutions = not algorithm.learns_from_own_responses

    def solution_tokens(texts: list[str]) -> list[int]:
        ids = processor.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return [len(tokens) + 1 for tokens in ids]  # and the one that ends it

    try:
        return RowScan(decode=cfg.preflight.decode, cache=cfg.preflight.cache).check(
            dataset,
            prompts=Prompts(processor=processor, dataset=dataset),
            judge=reward.judge,
            needs_solutions=learns_solutions,
            solution_tokens=solution_tokens if learns_solutions else None,
        )
    finally:
        reward.close()


def _built(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, *, vlm: PreTrainedModel) -> Objects:
    return Objects(
        algorithm=algorithm,
        dataset=dataset,
        scheme=instantiate(cfg.evaluation.scheme),
        vlm=vlm,
        engines=(instantiate(cfg.rollout.engine), instantiate(cfg.rollout.evaluation_engine)),
    )


def _refusals(cfg: DictConfig, built: Objects) -> Iterator[str]:
    """What a run would refuse before its first step, each in its own words."""
    yield from refusals("preflight", "sizes", cfg, built.algorithm)
    yield from refusals("preflight", "objects", built)
    yield from refusals("preflight", "rows", built)
