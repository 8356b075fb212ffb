"""Whether an algorithm fits the engine and the reward of its experiment: entries of the list in checks.py.

What an algorithm can say of itself is checked by its constructor; here is what only the whole config shows.
"""

from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.setting_types import target_of
from vlm_rl.evaluation.bottleneck_rule import BottleneckRule
from vlm_rl.rewards.length import LengthTerm, TruncationTerm
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.rollout.solution_engine import SolutionEngine

PARTS = {  # of an algorithm: a file to choose, and how it is switched off
    "dynamic_sampling": ("dapo", "algorithm.dynamic_sampling=null"),
    "rollout_correction": ("truncate", "algorithm/rollout_correction=none"),
}


def check_parts(cfg: DictConfig) -> None:
    """A part is chosen by a slash; a dot puts the bare word where an object belongs."""
    algorithm = cfg.algorithm
    for part, (option, off) in PARTS.items():
        is_off = algorithm.get(part) is None and (part not in algorithm or off == f"algorithm.{part}=null")
        if not is_off and not isinstance(algorithm[part], DictConfig):
            raise ValueError(
                f"algorithm.{part}={algorithm[part]} puts a bare value where a config of its own belongs. "
                f"Choose that with a slash, as algorithm/{part}={option}, or switch it off by {off}."
            )


def check_responses(cfg: DictConfig, algorithm: Algorithm) -> None:
    """The engine must give what the algorithm learns from: its own responses or worked solutions, and log-probabilities that hold."""
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
    _check_old_logprobs(cfg, algorithm)
    _check_overlap(cfg)
    _check_bottleneck(cfg, algorithm)


def _check_old_logprobs(cfg: DictConfig, algorithm: Algorithm) -> None:
    """Only where the policy itself samples are the engine's log-probabilities those of the policy that is trained."""
    if algorithm.old_logprobs == "recompute":
        return
    if not _makes(cfg.rollout.engine, HuggingFaceEngine):
        raise ValueError(
            f"algorithm.old_logprobs=engine takes what {cfg.rollout.engine._target_.rpartition('.')[2]} says for what the policy says, and "
            "only of the embedded engine that is known. Set algorithm.old_logprobs=recompute, or rollout=huggingface."
        )
    if algorithm.rollout_correction.level != "none":
        raise ValueError(
            "algorithm.rollout_correction compares the engine with the trainer, and algorithm.old_logprobs=engine takes them for equal. "
            "Set algorithm.old_logprobs=recompute, or algorithm/rollout_correction=none."
        )


def _check_overlap(cfg: DictConfig) -> None:
    """Only servers sample while the trainer computes."""
    overlap, engine = cfg.rollout.get("overlap", 0), cfg.rollout.engine
    if overlap not in (0, 1):
        raise ValueError(
            f"rollout.overlap={overlap}; it is 0, or 1 to sample each step while the one before is learned, by weights one step old."
        )
    if overlap and not hasattr(target_of(engine), "begin"):
        raise ValueError(
            f"rollout.overlap=1 samples on servers while the trainer computes, but {engine._target_.rpartition('.')[2]} samples in the "
            "trainer itself. Set rollout.overlap=0, or rollout=vllm."
        )


def _check_bottleneck(cfg: DictConfig, algorithm: Algorithm) -> None:
    """Only where the policy itself answers is there a training accuracy, and only with epochs left is there an end to bring forward."""
    if cfg.get("bottleneck") is None:
        return
    if not algorithm.learns_from_own_responses:
        raise ValueError(
            f"bottleneck ends a run where its training accuracy no longer rises, and {type(algorithm).__name__} learns from worked "
            "solutions: it has no training accuracy. Set bottleneck=none."
        )
    rule: BottleneckRule = instantiate(cfg.bottleneck)
    rule.check_epochs(cfg.dataset.epochs, every_epochs=cfg.evaluation.scheme.every_epochs)


def check_dynamic_sampling(cfg: DictConfig, algorithm: Algorithm) -> None:
    sampling = algorithm.dynamic_sampling
    if sampling is not None and sampling.metric == "accuracy" and cfg.reward.get("accuracy_weight") == 0:
        raise ValueError(
            "algorithm.dynamic_sampling.metric=accuracy keeps groups that are right and wrong, but with reward.accuracy_weight=0 "
            "that has no part in their scores. Set algorithm.dynamic_sampling.metric=score."
        )


def check_score(cfg: DictConfig, algorithm: Algorithm) -> None:
    """A penalty on long or truncated responses has no effect where those get no score."""
    if not algorithm.rewards_only_ended_responses:
        return
    cause, way_out = type(algorithm).__name__, ""
    if cfg.algorithm.get("score_at") == "eos":
        cause, way_out = "algorithm.score_at=eos", "algorithm.score_at=last_token, or "
    for key, weighted in (cfg.reward.get("terms") or {}).items():
        if weighted.weight and (_makes(weighted.term, TruncationTerm) or _makes(weighted.term, LengthTerm)):
            raise ValueError(
                f"reward.terms.{key} is against long responses, but with {cause} those that were cut off, the longest, "
                f"have no score. Set {way_out}reward.terms.{key}.weight=0."
            )


def _makes(node: DictConfig, kind: type) -> bool:
    """Whether a config builds objects of a class, without building one. An unknown _target_ is for `instantiate` to explain."""
    target = target_of(node)
    return isinstance(target, type) and issubclass(target, kind)
