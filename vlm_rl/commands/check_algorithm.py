"""Whether an algorithm fits the engine, the reward and the sizes of its experiment: said before anything is loaded.

What an algorithm can say of itself is checked by its constructor; here is what only the whole config shows.
"""

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.reinforce_pp import ReinforcePlusPlus
from vlm_rl.commands.trainer_ranks import ranks_of
from vlm_rl.datasets.dataset import check_shares
from vlm_rl.pipeline.step4_policy_update import check_divides
from vlm_rl.rewards.length import TruncationTerm
from vlm_rl.rollout.solution_engine import SolutionEngine

PARTS = {  # of an algorithm: a file to choose, and how it is switched off
    "dynamic_sampling": ("dapo", "algorithm.dynamic_sampling=null"),
    "rollout_correction": ("truncate", "algorithm/rollout_correction=none"),
}


def checked_algorithm(cfg: DictConfig) -> Algorithm:
    """The algorithm; a combination of keys that would do something else than it says is an error."""
    _check_parts(cfg.algorithm)
    _check_batch(cfg.dataset)
    algorithm: Algorithm = instantiate(cfg.algorithm)
    _check_responses(cfg, algorithm)
    _check_dynamic_sampling(cfg, algorithm)
    _check_score(cfg, algorithm)
    return algorithm


def check_update_sizes(cfg: DictConfig, algorithm: Algorithm) -> None:
    """Queries shared out over ranks, and responses over optimizer steps."""
    check_shares(cfg.dataset.batch_size, num_ranks=ranks_of(cfg.trainer))
    check_divides(algorithm.groups_of_update(cfg.dataset.batch_size) * algorithm.group_size, algorithm.num_minibatches)


def _check_parts(algorithm: DictConfig) -> None:
    """A part is chosen by a slash; a dot puts the bare word where an object belongs."""
    for part, (option, off) in PARTS.items():
        is_off = algorithm.get(part) is None and (part not in algorithm or off == f"algorithm.{part}=null")
        if not is_off and not isinstance(algorithm[part], DictConfig):
            raise ValueError(
                f"algorithm.{part}={algorithm[part]} puts a bare value where a config of its own belongs. "
                f"Choose that with a slash, as algorithm/{part}={option}, or switch it off by {off}."
            )


def _check_batch(dataset: DictConfig) -> None:
    if dataset.batch_size < 1:  # before conf/algorithm/ divides it
        raise ValueError(
            f"dataset.batch_size={dataset.batch_size} is no batch: it is 1 query or more, as dataset.batch_size=8."
        )


def _check_responses(cfg: DictConfig, algorithm: Algorithm) -> None:
    """Whose responses an algorithm learns from, and whose it is given."""
    name, from_teacher = type(algorithm).__name__, _makes(cfg.rollout.engine, SolutionEngine)
    if algorithm.learns_from_own_responses and from_teacher:
        raise ValueError(
            f"{name} learns from what the policy itself answers, but rollout=solutions hands it the worked solutions. "
            "Take rollout=huggingface, or learn from solutions by algorithm=sft."
        )
    if not algorithm.learns_from_own_responses and not from_teacher:
        raise ValueError(
            f"{name} learns from worked solutions, but rollout.engine={cfg.rollout.engine._target_.rpartition('.')[2]} would "
            "have it imitate the policy's own answers, right and wrong alike. Take rollout=solutions."
        )


def _check_dynamic_sampling(cfg: DictConfig, algorithm: Algorithm) -> None:
    sampling = algorithm.dynamic_sampling
    if sampling is not None and sampling.metric == "accuracy" and cfg.reward.get("accuracy_weight") == 0:
        raise ValueError(
            "algorithm.dynamic_sampling.metric=accuracy keeps groups that are right and wrong, but with reward.accuracy_weight=0 "
            "that has no part in their scores. Set algorithm.dynamic_sampling.metric=score."
        )


def _check_score(cfg: DictConfig, algorithm: Algorithm) -> None:
    """The penalty for a response without EOS must have a place to stand."""
    if not (isinstance(algorithm, ReinforcePlusPlus) and algorithm.score_at == "eos"):
        return
    for key, weighted in (cfg.reward.get("terms") or {}).items():
        if weighted.weight and _makes(weighted.term, TruncationTerm):
            raise ValueError(
                f"reward.terms.{key} is for responses that were cut off, but with algorithm.score_at=eos only a response that ended "
                f"has a score. Set algorithm.score_at=last_token, or reward.terms.{key}.weight=0."
            )


def _makes(node: DictConfig, kind: type) -> bool:
    """Whether a config builds objects of a class, without building one. An unknown _target_ is for `instantiate` to explain."""
    try:
        target = get_object(node._target_)
    except (ImportError, ValueError):
        return False
    return isinstance(target, type) and issubclass(target, kind)
