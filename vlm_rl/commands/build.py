"""From a composed config to the objects of a run, one typed line for each."""

from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl import ranks
from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.dynamic_sampling import GroupSelection
from vlm_rl.commands.checks import Command, Objects, checked_algorithm, checked_placement, refuse
from vlm_rl.commands.composing import composed as composed  # who builds composes first
from vlm_rl.commands.placement import Placement, is_sharded
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row_scan import RowScan, check_rows
from vlm_rl.device import forget_peak
from vlm_rl.evaluation.evaluator import Evaluator, Scheme
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.models.precision import set_precision_of_products
from vlm_rl.models.sharding import Sharding
from vlm_rl.module import Progress, VLMReinforcement
from vlm_rl.pipeline.served_collection import OverlappedCollection, ServedCollection
from vlm_rl.pipeline.step1_data_flow import DataFlow
from vlm_rl.pipeline.step2_response_collection import ResponseCollection
from vlm_rl.pipeline.step3_trajectory_generation import Parity, TrajectoryGeneration
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate
from vlm_rl.rewards.reward import Reward
from vlm_rl.rollout.engine import RolloutEngine, SamplingSettings, ServedEngine
from vlm_rl.stopwatch import Stopwatch


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The built objects of one run."""

    dataset: Dataset
    policy: Policy
    reward: Reward
    algorithm: Algorithm
    encoder: PromptEncoder
    reflection: ReflectionRule
    evaluator: Evaluator
    module: VLMReinforcement
    cfg: DictConfig
    engines: tuple[RolloutEngine, ...] = ()  # of training and of evaluation, which may be one


def build(
    cfg: DictConfig, *, command: Command = "evaluate", placement: Placement | None = None, algorithm: Algorithm | None = None
) -> Experiment:
    """Instantiates in reading order; nothing is trained yet. `command`: whose checks the objects must pass."""
    placement = placement or checked_placement(command, cfg)
    algorithm = algorithm or checked_algorithm(command, cfg)  # before anything is loaded
    reward: Reward = instantiate(cfg.reward)
    dataset: Dataset = instantiate(cfg.dataset)
    policy = placed_policy(cfg, placement)
    engine: RolloutEngine = instantiate(cfg.rollout.engine)
    is_one = cfg.rollout.evaluation_engine == cfg.rollout.engine
    evaluation_engine: RolloutEngine = engine if is_one else instantiate(cfg.rollout.evaluation_engine)
    scheme: Scheme = instantiate(cfg.evaluation.scheme)
    objects = Objects(
        algorithm=algorithm,
        dataset=dataset,
        scheme=scheme,
        vlm=policy.vlm,
        engines=(engine, evaluation_engine),
        num_local_ranks=placement.num_local_ranks,
    )
    refuse(command, "objects", objects)
    reflection: ReflectionRule = instantiate(cfg.evaluation.reflection)
    encoder = PromptEncoder(policy=policy, dataset=dataset)
    check_rows(
        dataset,
        scan=RowScan(decode=cfg.preflight.decode, cache=cfg.preflight.cache),
        judge=reward.judge,
        prompts=encoder.prompts,
        needs_solutions=not algorithm.learns_from_own_responses,
    )
    refuse(command, "rows", objects)
    evaluator = Evaluator(
        scheme=scheme, dataset=dataset, encoder=encoder, engine=evaluation_engine, judge=reward.judge, seed=cfg.seed
    )
    module = _module(cfg, dataset=dataset, policy=policy, algorithm=algorithm, engine=engine, encoder=encoder, reward=reward)
    return Experiment(
        dataset=dataset,
        policy=policy,
        reward=reward,
        algorithm=algorithm,
        encoder=encoder,
        reflection=reflection,
        evaluator=evaluator,
        module=module,
        cfg=cfg,
        engines=(engine,) if is_one else (engine, evaluation_engine),
    )


def placed_policy(cfg: DictConfig, placement: Placement) -> Policy:
    """The model on the device of this process; the ranks of a machine load it one after the other."""
    set_precision_of_products(tf32=cfg.tf32)
    forget_peak(placement.device)
    settings = {"temperature": cfg.rollout.temperature, "seed": cfg.seed}
    policy: Policy
    if is_sharded(cfg.trainer):  # all at once: none of them reads more than its part
        policy = instantiate(cfg.model, sharding=Sharding(device=placement.device), **settings)
        return policy.to(placement.device)
    with ranks.in_turn(place=placement.local_rank, num_places=placement.num_local_ranks):
        policy = instantiate(cfg.model, **settings)
        return policy.to(placement.device)


def _module(
    cfg: DictConfig,
    *,
    dataset: Dataset,
    policy: Policy,
    algorithm: Algorithm,
    engine: RolloutEngine,
    encoder: PromptEncoder,
    reward: Reward,
) -> VLMReinforcement:
    stopwatch = Stopwatch(device=policy.device)
    parity = Parity(every=cfg.parity.every, tolerance=cfg.parity.tolerance)
    settings = _sampling(cfg, dataset, algorithm)
    data_flow = DataFlow(
        dataset=dataset,
        encoder=encoder,
        batch_size=algorithm.queries_of_step(dataset.batch_size),
        seed=cfg.seed,
        stopwatch=stopwatch,
        looks_ahead=cfg.rollout.get("overlap", 0) > 0,
    )
    one_after_the_other = ServedCollection if isinstance(engine, ServedEngine) else ResponseCollection
    collection = one_after_the_other(engine=engine, settings=settings, seed=cfg.seed)
    if cfg.rollout.get("overlap", 0):
        assert isinstance(engine, ServedEngine), "checks.py refuses others"
        collection = OverlappedCollection(engine=engine, settings=settings, seed=cfg.seed, data_flow=data_flow)
    return VLMReinforcement(
        policy=policy,
        algorithm=algorithm,
        data_flow=data_flow,
        collection=collection,
        generation=TrajectoryGeneration(
            reward=reward, algorithm=algorithm, parity=parity, selection=_selection(dataset, algorithm)
        ),
        update=PolicyUpdate(
            algorithm=algorithm,
            batch_size=dataset.batch_size,
            seed=cfg.seed,
            max_skipped_updates=cfg.max_skipped_updates,
        ),
        stopwatch=stopwatch,
        progress=Progress(steps_per_epoch=data_flow.steps_per_epoch),
        num_updates=data_flow.num_steps * algorithm.num_updates,
    )


def _sampling(cfg: DictConfig, dataset: Dataset, algorithm: Algorithm) -> SamplingSettings:
    return SamplingSettings(
        temperature=cfg.rollout.temperature,
        top_p=cfg.rollout.top_p,
        max_new_tokens=dataset.max_new_tokens,
        num_samples=algorithm.group_size,
    )


def _selection(dataset: Dataset, algorithm: Algorithm) -> GroupSelection | None:
    """The selection of the groups that an update learns from, where more are sampled."""
    if algorithm.dynamic_sampling is None:
        return None
    return GroupSelection(settings=algorithm.dynamic_sampling, batch_size=dataset.batch_size, group_size=algorithm.group_size)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The config with every interpolation resolved."""
    resolved: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return resolved
