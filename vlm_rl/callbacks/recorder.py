"""After each generation step: every completion, one line of dynamics (docs/rollout_correction.md: the engine's), one of cost."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.algorithms.dynamic_sampling import SelectionCounts
from vlm_rl.algorithms.kl import k3
from vlm_rl.algorithms.rollout_correction import RolloutCorrection, importance_ratio
from vlm_rl.device import peak_bytes
from vlm_rl.evaluation.records import records
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.response_metrics import count_responses, training_metrics
from vlm_rl.masking import pooled, pooled_max, pooled_mean
from vlm_rl.module import GenerationStep, VLMReinforcement, reinforcement
from vlm_rl.run_folder import RunFolder
from vlm_rl.types import Mask, Tokens, Trajectory


class Recorder(lightning.Callback):
    """Counts are pooled over ranks first; the first rank writes."""

    def __init__(self, *, folder: RunFolder, reflection: ReflectionRule) -> None:
        self._folder, self._reflection = folder, reflection
        self._epoch, self._right, self._answered = 0, 0, 0
        self.last_line: dict[str, Any] = {}  # of metrics.jsonl

    def state_dict(self) -> dict[str, Any]:
        """What the accuracy of the running epoch has been counted from."""
        return {"epoch": self._epoch, "right": self._right, "answered": self._answered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Counts on from a checkpoint."""
        self._epoch, self._right, self._answered = state_dict["epoch"], state_dict["right"], state_dict["answered"]

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        assert module.last_step is not None
        step, progress = module.last_step, module.progress
        table = ranks.gather_table(step_records(step, epoch=progress.epoch, generation_steps=progress.generation_steps))
        table = in_order(table, places=ranks.gathered(step.queries.indices), num_samples=step.responses.num_samples)
        line = {"event": "train", **progress.axes, **{f"policy/{name}": value for name, value in asdict(step.stats).items()}}
        line |= sampling_metrics(step.scored.counts)
        if module.algorithm.learns_from_own_responses:  # the log-probabilities of a teacher's texts are unknown
            line |= engine_metrics(step.scored.trajectory, correction=module.algorithm.rollout_correction)
            line |= served_metrics(step)
            line["train/not_judged"] = sum(ranks.gathered(step.scored.scores.num_not_judged))
        line |= self._own_responses(table, progress.generation_steps, progress.steps_per_epoch, module)
        self.last_line = line
        cost: dict[str, Any] = {"event": "train", "generation_steps": progress.generation_steps}
        cost["memory/peak_bytes"] = peak_bytes(module.policy.device)
        cost |= {f"time/{name}": seconds for name, seconds in module.stopwatch.read().items()}
        cost["tokens/response"] = pc.sum(table["response_length"]).as_py()
        if step.scored.counts is not None:
            cost["tokens/thrown_away"] = step.scored.counts.thrown_away_tokens
        if trainer.is_global_zero:
            self._folder.write_table(f"completions/step-{progress.generation_steps:06d}.parquet", table)
            self._folder.append("metrics.jsonl", line)
            self._folder.append("cost.jsonl", cost)
            log(trainer.loggers, {**line, **cost}, step=progress.generation_steps)

    def _own_responses(self, table: pa.Table, step: int, steps_per_epoch: int, module: VLMReinforcement) -> dict[str, float]:
        """What is only true of responses that the policy wrote itself, not of a teacher's."""
        if not module.algorithm.learns_from_own_responses:
            return {}
        counts = count_responses(table, rule=self._reflection)
        epoch = (step - 1) // steps_per_epoch
        if epoch != self._epoch:
            self._epoch, self._right, self._answered = epoch, 0, 0
        self._right, self._answered = self._right + int(counts.correct.sum()), self._answered + counts.correct.size
        in_epoch = {"train/accuracy_in_epoch": self._right / self._answered}
        spread = reward_spread(table["score"].to_pylist(), group_size=module.algorithm.group_size)
        return training_metrics(table, counts=counts) | in_epoch | spread


def step_records(step: GenerationStep, *, epoch: float, generation_steps: int) -> pa.Table:
    """The completions of this rank with the score and each reward term."""
    responses, scores = step.responses, step.scored.scores
    rows = [row for row in step.queries.rows for _ in range(responses.num_samples)]
    samples = list(range(responses.num_samples)) * len(step.queries.rows)
    where: dict[str, Any] = {"split": "train", "setting": "rollout", "epoch": epoch, "generation_steps": generation_steps}
    table = records(rows, responses.responses, scores.verdicts, samples=samples, **where)
    table = table.append_column("score", pa.array(scores.total, pa.float32()))
    for name, values in scores.terms.items():
        table = table.append_column(f"reward_{name}", pa.array(values, pa.float32()))
    for name, value in served_metrics(step).items():
        table = table.append_column(name.rpartition("/")[2], pa.array([value] * table.num_rows, pa.float32()))
    return table


def served_metrics(step: GenerationStep) -> dict[str, float]:
    """How many generation steps older than the weights that learn are those that sampled; empty for an engine in the trainer."""
    if step.responses.sources is None:
        return {}
    by = step.responses.sampled_by
    return {"rollout/staleness": float(0 if by is None else step.queries.step - by.version)}


def in_order(table: pa.Table, *, places: Sequence[Sequence[int]], num_samples: int) -> pa.Table:
    """The records of all ranks in the order of the global batch, as one rank writes them; `places` there of each rank's queries."""
    flat = [place for of_rank in places for place in of_rank]
    order = sorted(range(len(flat)), key=flat.__getitem__)
    return table.take([query * num_samples + sample for query in order for sample in range(num_samples)]).combine_chunks()


def sampling_metrics(counts: SelectionCounts | None) -> dict[str, float]:
    """What became of the groups of a generation step; nothing without dynamic sampling, where every group is learned from."""
    if counts is None:
        return {}
    return {
        "sampling/differing_groups": counts.differing,
        "sampling/missing_groups": counts.missing,
        "sampling/fell_short": float(counts.missing > 0),  # its mean over steps: how often
        "sampling/thrown_away_groups": counts.thrown_away,
    }


def reward_spread(scores: Sequence[float], *, group_size: int) -> dict[str, float]:
    """Spread of the rewards of a batch, whose groups lie side by side; a batch is one group where answers stand alone."""
    size = group_size if group_size > 1 else len(scores)
    groups = [scores[start : start + size] for start in range(0, len(scores), size)]
    return {
        "train/reward_std": statistics.pstdev(scores),
        "train/frac_reward_zero_std": sum(min(group) == max(group) for group in groups) / len(groups),
    }


def log(loggers: Sequence[Any], line: dict[str, Any], *, step: int) -> None:
    """Numbers go to Lightning's loggers, with their x-axes beside them."""
    numbers = {key: value for key, value in line.items() if isinstance(value, int | float)}
    for logger in loggers:
        logger.log_metrics(numbers, step=step)


def engine_metrics(trajectory: Trajectory, *, correction: RolloutCorrection) -> dict[str, float]:
    """Over all tokens of all ranks; empty where the trainer computed no log-probabilities of its own."""
    if trajectory.old_logprobs is None or trajectory.old_logprobs is trajectory.engine_logprobs:
        return {}
    engine, trainer, mask = trajectory.engine_logprobs, trajectory.old_logprobs, trajectory.response_mask
    log_ratio = trainer - engine
    ratio = importance_ratio(log_ratio, mask, level="token")
    metrics = {
        "rollout/logprob_difference_mean": pooled_mean(log_ratio.abs(), mask),
        "rollout/logprob_difference_max": _largest(log_ratio.abs(), mask),
        "rollout/importance_ratio_mean": pooled_mean(ratio, mask),
        "rollout/importance_ratio_min": -_largest(-ratio, mask),
        "rollout/importance_ratio_max": _largest(ratio, mask),
        "rollout/kl": pooled_mean(k3(engine.double(), trainer.double()), mask),  # KL(engine || trainer): the engine drew
        "rollout/effective_sample_share": _effective_share(importance_ratio(log_ratio, mask, level="sequence"), mask),
    }
    weights, level = trajectory.rollout_weights, correction.level
    if weights is not None and level != "none":
        metrics["rollout/weight_mean"] = pooled_mean(weights, mask)
        corrected = weights != importance_ratio(log_ratio, mask, level=level)
        if level != "token":  # else a share of the responses
            corrected, mask = corrected.any(1), mask.any(1)
        metrics["rollout/corrected_share"] = pooled_mean(corrected.double(), mask)
    return metrics


def _effective_share(ratio: Tokens, mask: Mask) -> float:
    """Kish's effective sample size, (sum w)^2 / sum w^2 over the one weight of each response, as a share of the responses."""
    weights = ratio.double()[mask & (mask.cumsum(1) == 1)]  # at the first token of each: all of a response hold the same
    sums = torch.stack([weights.sum(), weights.square().sum(), weights.new_tensor(len(weights))])
    total, squares, count = pooled(sums).tolist()
    return total**2 / (squares * count) if count else math.nan


def _largest(values: Tensor, mask: Tensor) -> float:
    """Over the mask of all ranks, some of which may hold nothing; NaN where none holds anything."""
    found = float(pooled_max(torch.cat([values[mask], values.new_full((1,), -math.inf)]).max()))
    return found if found > -math.inf else math.nan
