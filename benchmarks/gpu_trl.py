"""The same generation step by TRL's GRPOTrainer: the same architecture, prompts, pictures, group size, tokens and micro-batches.

TRL gets a fresh model with LoRA of its own making (so its reference is the model with adapters off, as ours), the KL coefficient
and the loss of ours, its own default precision (bfloat16 autocast on a GPU), and no vLLM. A first step of few tokens warms up.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gpu_device import Device
from gpu_notes import Notes, Skipped
from gpu_sizes import Setting, config_of, processor_of, prompts_of, random_model, rows_of
from hydra.utils import instantiate
from memory_cases import Case, workload_of
from omegaconf import DictConfig
from trl_parts import lora_of, settings_of, table_of, timed

from vlm_rl.models.prompts import Prompts

TIMED = "timed step"
WARM_UP_TOKENS = 8
GENERATE, SCORE, STEP = "generate", "generate and score", "step"


class Clock:
    """Seconds of TRL's methods in the second of two steps, and what its processor made of the prompts."""

    def __init__(self, trainer: Any, device: Device, *, num_tokens: int) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_bytes = self.num_written = 0
        self.prompt_ids: list[list[int]] = []
        self._trainer, self._device, self._num_tokens, self._begun = trainer, device, num_tokens, 0.0
        trainer.generation_config.max_new_tokens = min(WARM_UP_TOKENS, num_tokens)
        trainer._generate_single_turn = self._timed(trainer._generate_single_turn, told=self._generated)
        trainer._generate_and_score_completions = self._timed(trainer._generate_and_score_completions, told=self._scored)

    def _timed(self, method: Callable[..., Any], *, told: Callable[[float, Sequence[Any], Any], None]) -> Callable[..., Any]:
        return timed(method, told=told, synchronise=self._device.synchronise)

    def _generated(self, seconds: float, arguments: Sequence[Any], result: Any) -> None:
        self.seconds[GENERATE] = seconds
        self.prompt_ids = [list(map(int, ids)) for ids in arguments[0]]
        self.num_written = sum(len(ids) for ids in result[0])

    def _scored(self, seconds: float, arguments: Sequence[Any], result: Any) -> None:
        self.seconds[SCORE] = seconds

    def began(self) -> None:
        """A step begins."""
        self._device.synchronise()
        self._device.reset_peak()
        self._begun = time.perf_counter()

    def ended(self) -> None:
        """A step has ended; the next one writes whole responses."""
        self._device.synchronise()
        self.seconds[STEP] = time.perf_counter() - self._begun
        self.peak_bytes = self._device.peak_bytes()
        self._trainer.generation_config.max_new_tokens = self._num_tokens


def trainer_of(case: Case, cfg: DictConfig, *, rows: int, setting: Setting) -> Any:
    """TRL's trainer with a model made on the device."""
    from trl import GRPOConfig, GRPOTrainer

    dtype, attention = str(cfg.model.dtype), str(cfg.model.attention)
    vlm = random_model(case.at, dtype=dtype, attention=attention, root_seed=cfg.seed, device=setting.device)
    processor = processor_of(case)
    stop_ids = {processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id}
    on_gpu = setting.device.name == "cuda"
    arguments = settings_of(cfg, rows=rows, num_steps=2, on_gpu=on_gpu, folder=setting.work / f"trl-{case.name}")
    arguments["generation_kwargs"] = {
        "suppress_tokens": sorted({vlm.config.image_token_id, *stop_ids})
    }  # no response ends early
    coin = torch.Generator().manual_seed(0)

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return torch.randint(0, 2, (len(completions),), generator=coin).tolist()

    return GRPOTrainer(
        model=vlm,
        reward_funcs=reward,
        args=GRPOConfig(**arguments),
        train_dataset=table_of(rows_of(case), instantiate(cfg.dataset)),
        processing_class=processor,
        peft_config=lora_of(cfg),
    )


def measure_trl(setting: Setting, notes: Notes, *, model: str) -> None:
    """Raises Skipped where TRL is not installed."""
    try:
        import trl
        from transformers import TrainerCallback
        from trl import GRPOTrainer  # noqa: F401  # trl imports it only now
    except (ImportError, RuntimeError) as error:  # trl wraps what a lazy import raises
        raise Skipped(f"TRL cannot be imported: {error}") from error
    case = setting.case(model)
    cfg = config_of(case, setting.device)
    prompts = prompts_of(case, cfg)
    rows = workload_of(case, cfg, on_gpu=setting.device.name == "cuda").rows_within(case.micro_batch_tokens)
    trainer = trainer_of(case, cfg, rows=rows, setting=setting)
    clock = Clock(trainer, setting.device, num_tokens=case.max_new_tokens)

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.began()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.ended()

    trainer.add_callback(Steps())
    trainer.train()
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    numbers = numbers_of(clock, rows=rows, prompts=prompts, case=case)
    notes.add(TIMED, numbers | {"trl": trl.__version__, "beta": trainer.beta, "trained_parameters": trained})


def numbers_of(clock: Clock, *, rows: int, prompts: Prompts, case: Case) -> dict[str, Any]:
    """For the notes; the prompts must be ours, id for id."""
    ours = [prompts.process(row)["input_ids"][0].tolist() for row in rows_of(case)]
    asked = [ids for ids in ours for _ in range(case.group_size)]
    if sorted(asked) != sorted(clock.prompt_ids):
        raise ValueError("TRL's processor made other ids of the prompts than ours: the two steps cannot be compared.")
    return {
        "step_seconds": clock.seconds[STEP],
        "seconds": {
            GENERATE: clock.seconds[GENERATE],
            "score": clock.seconds[SCORE] - clock.seconds[GENERATE],
            "learn": clock.seconds[STEP] - clock.seconds[SCORE],
        },
        "peak_bytes": clock.peak_bytes,
        "sampled_tokens": clock.num_written,
        "tokens_per_second": clock.num_written / clock.seconds[GENERATE],
        "micro_batch_rows": rows,
    }
