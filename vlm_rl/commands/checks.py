"""What refuses a run before it starts: one list, in the order in which train, evaluate and preflight go through it.

A check stands in the first stage that knows what it needs. Elsewhere: rows (datasets/row_scan.py), what one class refuses of its own
settings (its constructor), files of weights (models/loading.py), the loaded model (model_checks.py), and code that a stored run names
(trust.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from transformers import PreTrainedModel

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands import check_algorithm, placement, resolvers
from vlm_rl.commands.placement import Placement, ranks_of
from vlm_rl.commands.setting_types import check_types
from vlm_rl.datasets.dataset import Dataset, check_shares
from vlm_rl.evaluation.evaluator import Scheme
from vlm_rl.models.parts import check_adapters_only, check_engine
from vlm_rl.models.sharding import check_room
from vlm_rl.pipeline.step2_response_collection import check_top_p
from vlm_rl.pipeline.step4_policy_update import check_minibatches
from vlm_rl.rollout.engine import RolloutEngine, ServedEngine
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine

Command = Literal["train", "evaluate", "preflight"]
Stage = Literal["settings", "machine", "algorithm", "sizes", "objects", "rows"]

ALL: tuple[Command, ...] = ("train", "evaluate", "preflight")
TRAINING: tuple[Command, ...] = ("train", "preflight")  # a trained run can be evaluated whatever training refuses since


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is built before the rows are read."""

    algorithm: Algorithm
    dataset: Dataset
    scheme: Scheme
    vlm: PreTrainedModel
    engines: tuple[RolloutEngine, ...]
    num_local_ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Check:
    """One reason not to start: `refuse` raises ValueError with the way out.

    It is given the config in the stages `settings` and `machine`, config and algorithm in `algorithm` and `sizes`, and `Objects`
    in `objects` and, after rows that cannot be used are left out, in `rows`.
    """

    name: str
    stage: Stage
    refuse: Callable[..., object]
    commands: tuple[Command, ...] = ALL


def refuse(command: Command, stage: Stage, *subjects: object) -> None:
    """Raises the ValueError of the first check of a stage that refuses."""
    for check in checks_of(command, stage):
        check.refuse(*subjects)


def refusals(command: Command, stage: Stage, *subjects: object) -> list[str]:
    """The sentences of all checks of a stage that refuse."""
    sentences = []
    for check in checks_of(command, stage):
        try:
            check.refuse(*subjects)
        except ValueError as error:
            sentences.append(str(error))
    return sentences


def checks_of(command: Command, stage: Stage) -> Iterator[Check]:
    """The checks that a command makes in a stage, in order."""
    return (check for check in CHECKS if check.stage == stage and command in check.commands)


def checked_placement(command: Command, cfg: DictConfig) -> Placement:
    """Where a command with this config runs, after the checks of its settings and of this machine; sets torch's threads."""
    refuse(command, "settings", cfg)
    if cfg.num_threads is not None:
        torch.set_num_threads(cfg.num_threads)  # another number rounds differently
    refuse(command, "machine", cfg)
    return placement.place(cfg.trainer)


def checked_algorithm(command: Command, cfg: DictConfig) -> Algorithm:
    """The algorithm, after the checks of what it is combined with and of sizes; `checked_placement` comes first."""
    algorithm: Algorithm = instantiate(cfg.algorithm)
    refuse(command, "algorithm", cfg, algorithm)
    refuse(command, "sizes", cfg, algorithm)
    return algorithm


def _check_preflight(cfg: DictConfig) -> None:
    if cfg.preflight.run:
        raise ValueError("preflight.run is no setting of a config file: write preflight=true on the command line, once.")


def _check_seed(cfg: DictConfig) -> None:
    """Every draw hashes the seed: another type would be another seed without a word."""
    if not isinstance(cfg.seed, int) or isinstance(cfg.seed, bool):
        raise ValueError(f"seed={cfg.seed} is no integer. Give one, as seed=0, or several: seeds=paper, 'seed=range(5)' -m.")


def _check_batch(cfg: DictConfig) -> None:
    if cfg.dataset.batch_size < 1:
        raise ValueError(
            f"dataset.batch_size={cfg.dataset.batch_size} is no batch. Give 1 query or more, as dataset.batch_size=8."
        )


def _check_devices(cfg: DictConfig) -> None:
    """For preflight, where the run may be meant for another machine; the other commands build a trainer of their own."""
    if cfg.preflight.device_memory is None:  # strategy and precision have checks of their own
        placement.trainer_of(cfg.trainer, strategy="auto", precision="32-true")


def _check_study_name(cfg: DictConfig) -> None:
    """Ranks that others started at their own times would each name the study by another second."""
    is_shared = resolvers.is_named(cfg.study) or resolvers.TIME_IS_INHERITED
    if not is_shared and placement.started_by_others() is not None and ranks_of(cfg.trainer) > 1:
        raise ValueError(
            "This study has no name, and each rank that torchrun or srun started would give it another: add study=NAME."
        )


def _check_engines(objects: Objects) -> None:
    for engine in objects.engines:
        check_engine(objects.vlm, engine=type(engine).__name__, synced_parts=engine.synced_parts)
        if isinstance(engine, ServedEngine) and engine.takes_adapters_only:
            check_adapters_only(objects.vlm, engine=type(engine).__name__)
        if isinstance(engine, HuggingFaceEngine):
            check_room(objects.vlm, num_local_ranks=objects.num_local_ranks)


CHECKS = (
    Check(name="preflight is no setting", stage="settings", refuse=_check_preflight, commands=("train",)),
    Check(name="the seed is an integer", stage="settings", refuse=_check_seed),
    Check(name="parts of an algorithm are configs", stage="settings", refuse=check_algorithm.check_parts),
    Check(name="values have the types of their keys", stage="settings", refuse=check_types),
    Check(name="a batch has a query", stage="settings", refuse=_check_batch),
    Check(name="the strategy keeps whole copies", stage="machine", refuse=placement.check_strategy),
    Check(name="precision is the model's", stage="machine", refuse=placement.check_precision),
    Check(name="the devices are here", stage="machine", refuse=_check_devices, commands=("preflight",)),
    Check(
        name="all processes are ranks",
        stage="machine",
        refuse=placement.check_processes,
        commands=("train", "evaluate"),
    ),
    Check(name="ranks share the name of the study", stage="machine", refuse=_check_study_name, commands=("train",)),
    Check(
        name="responses are of the right origin", stage="algorithm", refuse=check_algorithm.check_responses, commands=TRAINING
    ),
    Check(
        name="dynamic sampling sees what is scored",
        stage="algorithm",
        refuse=check_algorithm.check_dynamic_sampling,
        commands=TRAINING,
    ),
    Check(name="penalties reach long responses", stage="algorithm", refuse=check_algorithm.check_score, commands=TRAINING),
    Check(
        name="ranks share out a step",
        stage="sizes",
        refuse=lambda cfg, algorithm: check_shares(
            cfg.dataset.batch_size,
            num_ranks=ranks_of(cfg.trainer),
            num_sampled=algorithm.queries_of_step(cfg.dataset.batch_size),
        ),
        commands=TRAINING,
    ),
    Check(
        name="mini-batches share out the responses",
        stage="sizes",
        refuse=lambda cfg, algorithm: check_minibatches(algorithm, batch_size=cfg.dataset.batch_size),
    ),
    Check(name="training samples untruncated", stage="sizes", refuse=lambda cfg, _: check_top_p(cfg.rollout.top_p)),
    Check(name="engines see what is trained", stage="objects", refuse=_check_engines),
    Check(name="endpoint is evaluated", stage="objects", refuse=lambda built: built.scheme.check_endpoint(), commands=TRAINING),
    Check(
        name="the trained model is evaluated",
        stage="objects",
        refuse=lambda built: built.scheme.check_epochs(built.dataset.epochs),
        commands=TRAINING,
    ),
    Check(
        name="an epoch has a step",
        stage="rows",
        refuse=lambda built: built.dataset.check_step(built.algorithm.queries_of_step(built.dataset.batch_size)),
        commands=TRAINING,
    ),
    Check(
        name="an epoch has a batch",
        stage="rows",
        refuse=lambda built: built.dataset.check_step(built.dataset.batch_size),
        commands=("evaluate",),
    ),
)
