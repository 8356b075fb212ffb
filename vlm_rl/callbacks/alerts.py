"""What should not happen in a healthy run is written down, in `alerts.jsonl`, when it happens."""

from typing import Any

import lightning

from vlm_rl.module import reinforcement
from vlm_rl.run_folder import RunFolder


class Alerts(lightning.Callback):
    """Looks at each step's numbers; `alert` also serves others that see something."""

    def __init__(self, *, folder: RunFolder) -> None:
        self._folder = folder

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = reinforcement(pl_module)
        assert module.last_step is not None
        skipped = module.last_step.stats.skipped_updates
        if skipped and trainer.is_global_zero:
            message = f"{skipped} of {module.algorithm.num_updates} updates had a non-finite loss or gradient and were skipped."
            step = module.progress.generation_steps
            self._folder.append("alerts.jsonl", {"generation_steps": step, "alert": "non_finite_update", "message": message})
            print(f"ALERT at generation step {step}: {message}", flush=True)
