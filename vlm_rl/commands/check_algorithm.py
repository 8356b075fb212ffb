"""Whether an algorithm fits the engine, the reward and the sizes of its experiment: said before anything is loaded.

What an algorithm can say of itself is checked by its constructor; here is what only the whole config shows. A run that was trained
can be evaluated whatever training has come to refuse since: that stands in `check_training`.
"""

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.placement import ranks_of
from vlm_rl.commands.setting_types import check_types
from vlm_rl.datasets.dataset import check_shares
from vlm_rl.pipeline.step4_policy_update import check_minibatches
from vlm_rl.rewards.length import LengthTerm, TruncationTerm
from vlm_rl.rollout.solution_engine import SolutionEngine

PARTS = {  # of an algorithm: a file to choose, and how it is switched off
    "dynamic_sampling": ("dapo", "algorithm.dynamic_sampling=null"),
    "rollout_correction": ("truncate", "algorithm/rollout_correction=none"),
}


def check_training(cfg: DictConfig) -> None:
    """All that training refuses of an algorithm in its experiment."""
    algorithm = checked_algorithm(cfg)
    check_combinations(cfg, algorithm)
    check_update_sizes(cfg, algorithm)


def checked_algorithm(cfg: DictConfig) -> Algorithm:
    """The algorithm; settings that it cannot be built from are an error that names them."""
    check_settings(cfg)
    algorithm: Algorithm = instantiate(cfg.algorithm)
    return algorithm


def check_settings(cfg: DictConfig) -> None:
    """What each setting is by itself: said before anything is made of them, and before conf/algorithm/ divides one by another."""
    check_seed(cfg.seed)
    _check_parts(cfg.algorithm)
    check_types(cfg)
    _check_batch(cfg.dataset)


def check_seed(seed: object) -> None:
    """Every draw hashes the seed: another type would be another seed without a word."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seed={seed} is no integer. Give one, as seed=0, or several: seeds=paper, 'seed=range(5)' -m.")


def check_combinations(cfg: DictConfig, algorithm: Algorithm) -> None:
    """A combination of keys that would train otherwise than it says is an error."""
    _check_responses(cfg, algorithm)
    _check_dynamic_sampling(cfg, algorithm)
    _check_score(cfg, algorithm)


def check_update_sizes(cfg: DictConfig, algorithm: Algorithm) -> None:
    """Queries shared out over ranks, and responses over optimizer steps."""
    batch_size = cfg.dataset.batch_size
    check_shares(batch_size, num_ranks=ranks_of(cfg.trainer), num_sampled=algorithm.queries_of_step(batch_size))
    check_minibatches(algorithm, batch_size=cfg.dataset.batch_size)


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
    if dataset.batch_size < 1:
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
    """The penalty for a long response, or one without EOS, must have a place to stand."""
    if not algorithm.rewards_only_ended_responses:
        return
    is_setting = cfg.algorithm.get("score_at") == "eos"
    cause = "algorithm.score_at=eos" if is_setting else type(algorithm).__name__
    way_out = "algorithm.score_at=last_token, or " if is_setting else ""
    for key, weighted in (cfg.reward.get("terms") or {}).items():
        if weighted.weight and (_makes(weighted.term, TruncationTerm) or _makes(weighted.term, LengthTerm)):
            raise ValueError(
                f"reward.terms.{key} is against long responses, but with {cause} those that were cut off, the longest, "
                f"have no score. Set {way_out}reward.terms.{key}.weight=0."
            )


def _makes(node: DictConfig, kind: type) -> bool:
    """Whether a config builds objects of a class, without building one."""
    made = _class_of(node)
    return made is not None and issubclass(made, kind)


def _class_of(node: DictConfig) -> type | None:
    """What a config builds; None where that is no class. An unknown _target_ is for `instantiate` to explain."""
    try:
        target = get_object(node._target_)
    except (ImportError, ValueError):
        return None
    return target if isinstance(target, type) else None
