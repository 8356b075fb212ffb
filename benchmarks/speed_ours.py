"""Some generation steps of ours, as a run makes them: Lightning's fit, without what a run writes. Started by benchmarks/speed.py.

    python benchmarks/speed_ours.py CASE_AS_JSON RESULT.json

It asks only for what users have: the composed config, the built objects, Lightning's fit and the stopwatch. So another checkout of
the package can be measured too: PYTHONPATH chooses it.
"""

import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from speed_case import Clock, Memory, SpeedCase, Step, digest, read_case, write

from vlm_rl.commands.build import Experiment, build

PHASES = {  # of the stopwatch
    "step1_data_flow": "I",
    "step2_response_collection": "II",
    "step3_trajectory_generation": "III",
    "step4_policy_update": "IV",
}


class Steps(lightning.Callback):
    """Reads the clocks after each generation step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._clock = Clock()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The step is over, Step I of it included."""
        read, made = self._clock.read(), pl_module.last_step
        seconds = pl_module.stopwatch.read()
        asked = [ids[mask].tolist() for ids, mask in zip(batch.query_ids, batch.attention_mask, strict=True)]
        self.steps.append(
            Step(
                **read,
                phases={short: seconds.get(name, 0.0) for name, short in PHASES.items()},
                rows=[row.id for row in batch.rows],
                prompts=digest(asked),
                prompt_tokens=[len(ids) for ids in asked],
                response_tokens=made.responses.response_mask.sum(1).tolist(),
            )
        )
        self._clock.read()  # what was just done is nobody's


def built(case: SpeedCase) -> Experiment:
    """The objects of the run. With a fixed length no stop id is ever drawn."""
    experiment = build(case.composed(), command="train")
    if case.response_tokens is not None:
        vlm = experiment.policy.vlm
        vlm.generation_config.eos_token_id = [vlm.config.image_token_id]  # banned, so it is never drawn
    return experiment


def main() -> None:
    """The command."""
    case = read_case(sys.argv[1])
    torch.set_num_threads(case.threads)
    experiment = built(case)
    try:
        memory, steps = Memory(), Steps()
        trainer = instantiate(experiment.cfg.trainer, logger=False, callbacks=[steps])
        trainer.fit(
            experiment.module, train_dataloaders=torch.utils.data.DataLoader(experiment.module.data_flow, batch_size=None)
        )
        write(Path(sys.argv[2]), case=case, steps=steps.steps, memory=memory.beyond())
    finally:
        experiment.reward.close()


if __name__ == "__main__":
    main()
