"""TRL's GRPOTrainer on the work of one of our configs: the settings, the rows and the adapters, for all benchmarks against TRL."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import datasets
from omegaconf import DictConfig
from peft import LoraConfig

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row

TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"


def settings_of(cfg: DictConfig, *, rows: int, num_steps: int, on_gpu: bool, folder: Path) -> dict[str, Any]:
    """Arguments of GRPOConfig for `num_steps` generation steps: ours where we have them, else TRL's defaults.

    `rows`: responses of a micro-batch. TRL counts optimizer steps; it samples for so many micro-batches at once.
    """
    num_responses, updates = cfg.dataset.batch_size * cfg.algorithm.group_size, cfg.algorithm.num_minibatches
    if num_responses % (updates * rows):
        raise ValueError(f"{num_responses} responses do not make {updates} updates of whole micro-batches of {rows}.")
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": num_responses // updates // rows,
        "steps_per_generation": num_responses // rows,
        "num_generations": cfg.algorithm.group_size,
        "max_completion_length": cfg.dataset.max_new_tokens,
        "max_steps": num_steps * updates,
        "beta": float(cfg.algorithm.kl_loss_coef),
        "epsilon": float(cfg.algorithm.clip_high),
        "loss_type": "grpo",
        "scale_rewards": "group",
        "use_bias_correction_kl": False,
        "temperature": float(cfg.rollout.temperature),
        "top_p": 1.0,
        "top_k": 0,
        "learning_rate": float(cfg.model.optimization.learning_rate),
        "adam_beta1": float(cfg.model.optimization.betas[0]),
        "adam_beta2": float(cfg.model.optimization.betas[1]),
        "weight_decay": float(cfg.model.optimization.weight_decay),
        "max_grad_norm": float(cfg.model.optimization.max_grad_norm),
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": bool(cfg.model.gradient_checkpointing),
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "shuffle_dataset": False,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": int(cfg.seed),
    }


def table_of(rows: Sequence[Row], dataset: Dataset) -> datasets.Dataset:
    """Prompts as conversations; pictures are drawn beforehand and handed over when TRL asks, so that none is packed and unpacked."""
    texts = [dataset.prompt_for(row).removeprefix(IMAGE_MARKER) for row in rows]
    pictures = [dataset.pictures(row) for row in rows]

    def shown(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = [pictures[place] for place in batch["place"]]
        return {"prompt": batch["prompt"], "place": batch["place"], "images": images}

    asked = [[{"role": "user", "content": text}] for text in texts]
    return datasets.Dataset.from_dict({"prompt": asked, "place": list(range(len(rows)))}).with_transform(shown)


def lora_of(cfg: DictConfig) -> LoraConfig:
    """Adapters of our rank on the same layers."""
    lora = cfg.model.lora
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM")


def timed(
    method: Callable[..., Any],
    *,
    told: Callable[[float, Sequence[Any], Any], None],
    synchronise: Callable[[], None] = lambda: None,
) -> Callable[..., Any]:
    """The method with a clock: `told` gets the seconds of each call, its arguments and its result."""

    @wraps(method)
    def clocked(*arguments: Any, **named: Any) -> Any:
        synchronise()
        begun = time.perf_counter()
        result = method(*arguments, **named)
        synchronise()
        told(time.perf_counter() - begun, arguments, result)
        return result

    return clocked
