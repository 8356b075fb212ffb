"""TRL's own advantages and losses without its trainer: its unbound methods over an object that holds settings and scripted numbers.

No formula of TRL stands here. What a test scripts is what a trainer would have measured: scores, lengths, log-probabilities.
"""

from collections import defaultdict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl import GRPOTrainer, RLOOTrainer

from vlm_rl.types import Trajectory

PAD, EOS, WORD = 0, 1, 2  # ids of scripted responses
Inputs = dict[str, Any]  # what TRL's first method hands to its second

# One process, one accumulation window that holds the whole batch, and every addition of TRL to the published losses switched off.
ARGS: dict[str, Any] = {
    "per_device_train_batch_size": 1,  # only handed on to the forward pass, which is scripted
    "gradient_checkpointing_kwargs": None,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 1,  # dapo: the tokens of the generation batch are those of the mini-batch
    "delta": None,  # no second bound on the ratio of two-sided clipping
    "use_bias_correction_kl": False,  # the KL loss is not multiplied by the ratio (TRL's default multiplies)
}
TRAINER: dict[str, Any] = {
    "beta": 0.0,  # GRPO: coefficient of the KL loss; RLOO: of the KL in the reward
    "epsilon_low": 0.2,
    "epsilon_high": 0.2,
    "loss_type": "grpo",  # mean of each response, then over responses (TRL's default is dapo)
    "importance_sampling_level": "token",
    "scale_rewards": "group",
    "multi_objective_aggregation": "sum_then_normalize",  # the weighted sum of rewards is normalised, not each one
    "normalize_advantages": False,  # RLOO
    "reward_clip_range": None,  # RLOO
    "mask_truncated_completions": False,
    "max_completion_length": 16,  # dr_grpo divides by it
    "num_iterations": 1,  # updates with the same batch; more than 1 and old log-probabilities are kept
    "current_gradient_accumulation_steps": 1,
    "off_policy_mask_threshold": None,  # no response is dropped for having drifted
    "top_entropy_quantile": 1.0,  # all tokens, not only those of high entropy
    "_entropy_bonus_enabled": False,
    "aux_loss_enabled": False,  # no routing loss of a mixture of experts
    "use_vllm": False,  # with it come weights for what the engine sampled from
    "vllm_importance_sampling_correction": False,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_min": None,
    "vllm_importance_sampling_clip_max": 2.0,
    "reward_funcs": ["scripted"],
    "reward_func_names": ["scripted"],
    "reward_weights": torch.ones(1),
    "tools": None,
    "environments": None,
    "environment_factories": None,
    "pad_to_multiple_of": None,
    "eos_token_ids": [EOS],
    "_tokenizer": SimpleNamespace(pad_token_id=PAD),
    "log_multimodal": False,
    "accelerator": SimpleNamespace(
        device="cpu", num_processes=1, process_index=0, gather=lambda tensor: tensor, reduce=lambda tensor, reduction: tensor
    ),
}


@dataclass(frozen=True, kw_only=True)
class ScriptedModel:
    """Stands where TRL has a network; its forward pass is a table of log-probabilities."""

    logprobs: Tensor
    training: bool = True
    is_gradient_checkpointing: bool = False


@dataclass(kw_only=True)
class StubTrainer:
    """The `self` of TRL's methods: settings as attributes, and the calls that would have needed a model, an engine or rewards."""

    trajectory: Trajectory
    num_generations: int  # the size of a group
    settings: dict[str, Any]  # what differs from the pinned settings
    trainer: ClassVar[type]

    def __post_init__(self) -> None:
        unknown = self.settings.keys() - TRAINER.keys() - ARGS.keys()
        assert not unknown, f"not pinned: {sorted(unknown)}"
        self.args = SimpleNamespace(**{key: self.settings.get(key, value) for key, value in ARGS.items()})
        vars(self).update({key: self.settings.get(key, value) for key, value in TRAINER.items()})
        nothing = torch.zeros(self.trajectory.response_mask.shape)
        old, ref = self.trajectory.old_logprobs, self.trajectory.ref_logprobs
        self.model = ScriptedModel(logprobs=nothing if old is None else old)
        self.ref_model = ScriptedModel(logprobs=nothing if ref is None else ref)
        self._metrics = {"train": defaultdict(list)}
        self._logs = {
            "prompt": [],
            "completion": [],
            "advantages": [],
            "rewards": defaultdict(list),
            "extra": defaultdict(list),
        }
        self._pending_extra_logs: dict[str, list[object]] = {}
        self._pending_metrics: dict[str, list[float]] = {}

    def inputs(self) -> Inputs:
        """Masks, advantages, old and reference log-probabilities as TRL makes them from responses and scores."""
        rows = [{"prompt": "scripted"} for _ in range(len(self.trajectory))]
        made: Inputs = self.trainer._generate_and_score_completions(self, rows)  # type: ignore[attr-defined]
        return made

    def loss(self, logprobs: Tensor, inputs: Inputs) -> Tensor:
        """TRL's loss at these log-probabilities."""
        loss: Tensor = self.trainer._compute_loss(self, ScriptedModel(logprobs=logprobs), inputs)  # type: ignore[attr-defined]
        return loss

    def response_ids(self) -> list[list[int]]:
        """As many ids as the mask has places; the last is EOS where the response ended by itself."""
        lengths, ended = self.trajectory.response_mask.sum(1).tolist(), self.trajectory.terminated.tolist()
        return [[WORD] * (n - 1) + [EOS if end else WORD] if n else [] for n, end in zip(lengths, ended, strict=True)]

    def _calculate_rewards(self, *_: object) -> Tensor:
        return self.trajectory.scores[:, None]

    def _get_per_token_logps_and_entropies(self, model: ScriptedModel, *_: object, **__: object) -> tuple[Tensor, Tensor, None]:
        return model.logprobs, torch.zeros_like(model.logprobs), None


class StubGrpo(StubTrainer):
    """`loss_type` and `importance_sampling_level` make it GRPO, DAPO, Dr. GRPO or GSPO."""

    trainer = GRPOTrainer

    def _generate(self, prompts: list[str]) -> tuple[object, ...]:
        """Ids of prompts and responses, a mask of tools' words, responses, their log-probabilities, and three things of tools."""
        ids, lengths = self.response_ids(), self.trajectory.response_mask.sum(1).tolist()
        sampled = [row[:n].tolist() for row, n in zip(self.trajectory.engine_logprobs, lengths, strict=True)]
        return [[WORD]] * len(ids), ids, None, ids, sampled, {}, None, None


class StubRloo(StubTrainer):
    """One ratio and one clip for each response."""

    trainer = RLOOTrainer

    def _generate(self, prompts: list[str]) -> tuple[object, ...]:
        """Ids of prompts and responses, and responses."""
        ids = self.response_ids()
        return [[WORD]] * len(ids), ids, ids
