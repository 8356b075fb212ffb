"""The same generation steps by TRL's GRPOTrainer. Started by benchmarks/speed.py.

    python benchmarks/speed_trl.py CASE_AS_JSON RESULT.json OURS.json ROWS_OF_A_MICRO_BATCH

OURS.json is what speed_ours.py wrote: TRL gets its rows in its order. The model, the pictures, the judge and the numbers of the
config are ours; adapters, optimizer and everything else are TRL's own. TRL takes no groups of 1: in their place it gets groups of 2 and
every second prompt, so as many sequences; each copy of a prompt is read on its own by it, so its time does not depend on the groups.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from speed_case import Clock, Memory, SpeedCase, Step, digest, read_case, write
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl_parts import lora_of, settings_of, table_of, timed

from vlm_rl.datasets.row import Row
from vlm_rl.models.family import banned_ids, stop_ids
from vlm_rl.models.loading import load_model, load_processor
from vlm_rl.rewards.reward import Reward
from vlm_rl.types import Response

GENERATE, SCORE, LEARN = "generate", "score", "learn"


class Steps(TrainerCallback):  # type: ignore[misc]
    """Reads the clocks after each generation step, which holds several of TRL's steps where there are several updates."""

    def __init__(self, trainer: Any, *, case: SpeedCase, rows: Sequence[Row]) -> None:
        self.steps: list[Step] = []
        self._case, self._rows = case, rows
        self._seconds = {GENERATE: 0.0, SCORE: 0.0}
        self._prompts: list[list[int]] = []
        self._written: list[int] = []
        trainer._generate_single_turn = timed(trainer._generate_single_turn, told=self._generated)
        trainer._generate_and_score_completions = timed(trainer._generate_and_score_completions, told=self._scored)
        self._clock = Clock()

    def _generated(self, seconds: float, arguments: Sequence[Any], result: Any) -> None:
        self._seconds[GENERATE] = seconds
        self._prompts = [list(map(int, ids)) for ids in arguments[0]]
        self._written = [len(ids) for ids in result[0]]

    def _scored(self, seconds: float, arguments: Sequence[Any], result: Any) -> None:
        self._seconds[SCORE] = seconds - self._seconds[GENERATE]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An optimizer step is over."""
        if state.global_step % self._case.updates:
            return
        read, begun = self._clock.read(), len(self.steps) * self._case.num_prompts
        learn = read["seconds"] - sum(self._seconds.values())
        self.steps.append(
            Step(
                **read,
                phases=self._seconds | {LEARN: learn},
                rows=[row.id for row in self._rows[begun : begun + self._case.num_prompts]],
                prompts=digest(self._prompts),
                prompt_tokens=[len(ids) for ids in self._prompts[:: self._case.group_size]],
                response_tokens=self._written,
            )
        )
        self._clock.read()  # what was just done is nobody's


def rewards_by(reward: Reward, rows: Sequence[Row]) -> Any:
    """Our judge as TRL calls it."""

    def judged(completions: list[Any], place: list[int], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        responses = [Response(text=text, finish_reason="stop", num_tokens=len(text)) for text in texts]
        return reward(responses, [rows[i] for i in place]).total

    return judged


def suppressed(case: SpeedCase, vlm: PreTrainedModel, processor: ProcessorMixin) -> list[int]:
    """Ids that are never drawn: those of vision, as in ours; with a fixed length, those that end a response too."""
    ends = {*stop_ids(vlm, processor), processor.tokenizer.pad_token_id} if case.response_tokens else set()
    return sorted({*banned_ids(vlm, processor).nonzero()[:, 0].tolist(), *ends})


def trainer_of(case: SpeedCase, cfg: DictConfig, *, rows: Sequence[Row], reward: Reward, micro_batch: int, folder: Path) -> Any:
    """TRL's trainer with our model, rows and judge."""
    processor = load_processor(case.model, {})
    vlm = load_model(
        case.model, untrained=cfg.model.untrained, dtype=cfg.model.dtype, attention=cfg.model.attention, root_seed=cfg.seed
    )
    settings = settings_of(cfg, rows=micro_batch, num_steps=1 + case.steps, on_gpu=False, folder=folder)
    return GRPOTrainer(
        model=vlm,
        reward_funcs=rewards_by(reward, rows),
        args=GRPOConfig(**settings, generation_kwargs={"suppress_tokens": suppressed(case, vlm, processor)}),
        train_dataset=table_of(rows, instantiate(cfg.dataset)),
        processing_class=processor,
        peft_config=lora_of(cfg),
    )


def as_trl_takes_it(case: SpeedCase) -> SpeedCase:
    """Groups of 2 in the place of groups of 1, with half as many prompts."""
    return replace(case, group_size=2, num_prompts=case.num_prompts // 2) if case.group_size == 1 else case


def rows_as_in(ours: Path, case: SpeedCase) -> list[Row]:
    """The training rows in the order in which ours had them."""
    told = json.loads(ours.read_text(encoding="utf-8"))
    by_id = {row.id: row for row in instantiate(case.composed().dataset).train}
    every = case.num_prompts // as_trl_takes_it(case).num_prompts
    return [by_id[name] for step in (told["warm_up"], *told["steps"]) for name in step["rows"][::every]]


def main() -> None:
    """The command."""
    asked = read_case(sys.argv[1])
    case = as_trl_takes_it(asked)
    cfg = case.composed()
    torch.set_num_threads(case.threads)
    reward: Reward = instantiate(cfg.reward)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows, micro_batch = rows_as_in(Path(sys.argv[3]), asked), int(sys.argv[4])
            trainer = trainer_of(case, cfg, rows=rows, reward=reward, micro_batch=micro_batch, folder=Path(folder))
            memory, steps = Memory(), Steps(trainer, case=case, rows=rows)
            trainer.add_callback(steps)
            trainer.train()
            write(Path(sys.argv[2]), case=asked, steps=steps.steps, memory=memory.beyond(), micro_batch=micro_batch)
    finally:
        reward.close()


if __name__ == "__main__":
    main()
