"""`python train.py ... preflight=true`: what a run would meet, from its data and its model's config. No weights, no GPU time."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console, RenderableType

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import plain
from vlm_rl.commands.checks import Objects, refusals, refuse
from vlm_rl.commands.errors import EXIT_CODE
from vlm_rl.commands.known_warnings import silence_known_warnings
from vlm_rl.commands.preflight_estimate import estimates
from vlm_rl.commands.preflight_jobs import jobs
from vlm_rl.commands.preflight_model import model_lines
from vlm_rl.commands.resolvers import variant
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row_scan import DataCheck, RowScan, keep
from vlm_rl.models import parts
from vlm_rl.models.attention import portable
from vlm_rl.models.loading import check_weights, resolve
from vlm_rl.models.parts import part_table
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.data_page import Verdict, data_page, steps_page
from vlm_rl.preflight.workload import prompt_sizes
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
    console.print(f"Checked in {time.perf_counter() - begun:.0f} s.")
    console.print(verdict.sentence)
    return verdict


def _pieces(cfg: DictConfig, *, verdict: Verdict) -> Iterator[RenderableType]:
    """In reading order, each as soon as it is known."""
    verdict.problems.extend(refusals("preflight", "machine", cfg))
    algorithm: Algorithm = instantiate(cfg.algorithm)
    refuse("preflight", "algorithm", cfg, algorithm)
    reward: Reward = instantiate(cfg.reward)
    dataset: Dataset = instantiate(cfg.dataset)
    policy = policy_of(cfg)
    check = rows_of(cfg, dataset, algorithm, policy, reward)
    yield from data_page(dataset, check)
    verdict.problems.extend(
        f"{found.num_bad:,} of {found.num_rows:,} rows of {split} cannot be used: mend them, or set dataset.on_bad_row=skip."
        for split, found in check.splits.items()
        if found.num_bad and dataset.on_bad_row == "error"
    )
    prompts = prompt_sizes(dataset, check)
    keep(dataset, check)
    yield part_table(parts.sizes(policy.vlm), rates=policy.optimization.rates(parts.trained(policy.vlm)))
    yield from steps_page(dataset, algorithm)
    verdict.problems.extend(_refusals(cfg, dataset, algorithm, policy))
    if not verdict.problems:
        yield from model_lines(cfg, policy, dataset, verdict=verdict)
    if prompts is None:
        verdict.reservations.append("memory and time were not estimated (no row can be used)")
    else:
        yield from estimates(cfg, policy, dataset, algorithm, prompts=prompts, verdict=verdict)


def policy_of(cfg: DictConfig) -> Policy:
    """On the meta device: shapes, dtypes and adapters are right, and no weights are read."""
    if not cfg.model.untrained:
        check_weights(Path(resolve(cfg.model.name)))
    is_elsewhere = cfg.preflight.device_memory is not None  # then the library of an attention need not be here
    asked = plain(cfg.model)["attention"]
    attention = portable(asked) if is_elsewhere else asked
    with torch.device("meta"):
        policy: Policy = instantiate(
            cfg.model, temperature=cfg.rollout.temperature, seed=cfg.seed, untrained=True, attention=attention
        )
    return policy


def rows_of(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, policy: Policy, reward: Reward) -> DataCheck:
    """What the rows are like. The reward is closed."""
    prompts = Prompts(processor=policy.processor, dataset=dataset, chat_template=policy.chat_template)
    needs_solutions = not algorithm.learns_from_own_responses
    try:
        scan = RowScan(decode=cfg.preflight.decode, cache=cfg.preflight.cache)
        return scan.check(dataset, prompts=prompts, judge=reward.judge, needs_solutions=needs_solutions)
    finally:
        reward.close()


def _refusals(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm, policy: Policy) -> Iterator[str]:
    """What a run would refuse before its first step, each in its own words."""
    built = Objects(
        algorithm=algorithm,
        dataset=dataset,
        scheme=instantiate(cfg.evaluation.scheme),
        vlm=policy.vlm,
        engines=(instantiate(cfg.rollout.engine), instantiate(cfg.rollout.evaluation_engine)),
    )
    yield from refusals("preflight", "sizes", cfg, algorithm)
    yield from refusals("preflight", "objects", built)
    yield from refusals("preflight", "rows", built)
