"""The callbacks of a run: what is measured, written, shown, stopped and resumed around the four steps."""

from dataclasses import dataclass
from typing import Any

import lightning
from hydra.utils import instantiate

from vlm_rl.callbacks.bottleneck import Bottleneck
from vlm_rl.callbacks.checkpoint import Checkpoint
from vlm_rl.callbacks.completion_tables import CompletionTables, Pictures
from vlm_rl.callbacks.display import Display
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.callbacks.interruption import Agreement, Interruption
from vlm_rl.callbacks.logger_sinks import Alerts, LoggerSetup
from vlm_rl.callbacks.recorder import Recorder
from vlm_rl.commands import slurm_job
from vlm_rl.commands.build import Experiment
from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class AroundTheLoop:
    """The callbacks of a run, in order, and those of them whose results `train` reads."""

    callbacks: list[lightning.Callback]
    interruption: Interruption
    schedule: EvaluationSchedule
    checkpoint: Checkpoint
    bottleneck: Bottleneck | None = None  # where the config has one


def around_the_loop(experiment: Experiment, folder: RunFolder, *, vanilla: RunFolder, written: dict[str, Any]) -> AroundTheLoop:
    """The callbacks that measure, write, show, stop and resume around the four steps."""
    cfg = experiment.cfg
    schedule = EvaluationSchedule(
        evaluator=experiment.evaluator,
        folder=folder,
        vanilla=vanilla,
        in_background=cfg.rollout.get("overlap", 0) > 0 and experiment.evaluator.is_served,
    )
    checkpoint = Checkpoint(
        folder=folder,
        schedule=schedule,
        every=cfg.checkpoint.every,
        keep_newest=cfg.checkpoint.keep_newest,
        keep_every=cfg.checkpoint.keep_every,
    )
    interruption = Interruption(more=slurm_job.announcing_signals())
    recorder = Recorder(folder=folder, reflection=experiment.reflection)
    watch: Watch = instantiate(cfg.alerts)
    bottleneck = _bottleneck(experiment, folder, recorder)
    callbacks: list[lightning.Callback] = [
        interruption,  # first: it listens while the vanilla model is evaluated
        recorder,
        LoggerSetup(folder=folder, config=written["config"] | {"variant": written["variant"], "arm": written["arm"]}),
        Alerts(folder=folder, recorder=recorder, watch=watch),
        Pictures(
            folder=folder.path.parents[1] / "images",
            dataset=experiment.dataset,
            splits=experiment.evaluator.scheme.splits,
            max_side=cfg.pictures.max_side,
        ),
        Display(folder=folder, label=f"{written['variant']}/seed-{cfg.seed}", num_steps=experiment.module.data_flow.num_steps),
        *([bottleneck] if bottleneck else []),
        schedule,
        CompletionTables(
            folder=folder, vanilla=vanilla, schedule=schedule, evaluator=experiment.evaluator, **cfg.completion_tables
        ),
        checkpoint,  # after all that writes: what a checkpoint stands for is on the disk before it
        Agreement(interruption),  # last: whatever was heard during the step counts, on every rank
    ]
    return AroundTheLoop(
        callbacks=callbacks, interruption=interruption, schedule=schedule, checkpoint=checkpoint, bottleneck=bottleneck
    )


def _bottleneck(experiment: Experiment, folder: RunFolder, recorder: Recorder) -> Bottleneck | None:
    if experiment.cfg.get("bottleneck") is None:
        return None
    return Bottleneck(
        rule=instantiate(experiment.cfg.bottleneck),
        every_epochs=experiment.evaluator.scheme.every_epochs,
        recorder=recorder,
        data_flow=experiment.module.data_flow,
        folder=folder,
    )
