"""`python train.py`: compose, build, train. The study's runs go on where they stopped."""

import secrets
import sys
from dataclasses import dataclass
from typing import Any

import hydra
import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl.callbacks.alerts import Alerts
from vlm_rl.callbacks.checkpoint import Checkpoint, saved_steps
from vlm_rl.callbacks.completion_tables import CompletionTables
from vlm_rl.callbacks.display import Display
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.callbacks.interruption import Interruption
from vlm_rl.callbacks.logger_setup import LoggerSetup
from vlm_rl.callbacks.own_forward import OwnForward
from vlm_rl.callbacks.pictures import Pictures
from vlm_rl.callbacks.recorder import Recorder
from vlm_rl.commands import errors, preflight, preflight_jobs, resolvers
from vlm_rl.commands.build import Experiment, build, comparable, plain, trainer_for
from vlm_rl.commands.check_algorithm import check_training
from vlm_rl.commands.dry_run import show_rollouts
from vlm_rl.commands.manifest import command, manifest
from vlm_rl.commands.noise import hush
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.trainer_check import check_devices, check_precision
from vlm_rl.commands.trainer_ranks import ranks_of
from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.run_folder import RunFolder


def main() -> None:
    """The console command."""
    resolvers.register()
    sys.argv[1:] = preflight_jobs.spelled_out(sys.argv[1:])
    errors.explained(preflight.main if preflight_jobs.is_asked(sys.argv[1:]) else _main)


@hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="train")
def _main(cfg: DictConfig) -> None:
    train(cfg, folder=RunFolder(path=HydraConfig.get().runtime.output_dir))


def train(cfg: DictConfig, *, folder: RunFolder) -> None:
    """One run, from its beginning or from its newest checkpoint to its end."""
    hush()
    if cfg.preflight.run:
        raise ValueError("preflight.run is no setting of a config file: write preflight=true on the command line, once.")
    if cfg.num_threads is not None:
        torch.set_num_threads(cfg.num_threads)
    if not resolvers.is_named(cfg.study):
        print("This study has no name, so it cannot be resumed; study=NAME gives it one.", flush=True)
    found = folder.manifest
    if found is not None:
        check_same_config(found, plain(cfg), folder)
        if found["status"] == "finished":
            print(f"{folder.path} is finished; nothing to do.", flush=True)
            return
    check_precision(cfg.trainer)
    check_devices(cfg.trainer)
    check_training(cfg)
    experiment = build(cfg)
    try:
        experiment.dataset.check_sizes(num_ranks=ranks_of(cfg.trainer))
        experiment.evaluator.scheme.check_endpoint()
        experiment.evaluator.scheme.check_epochs(experiment.dataset.epochs)
        if cfg.dry_run == "rollouts":
            show_rollouts(experiment)
        else:
            _train(experiment, folder)
    finally:
        experiment.reward.close()


def _train(experiment: Experiment, folder: RunFolder) -> None:
    cfg = experiment.cfg
    hydra_config = HydraConfig.get()
    told = manifest(
        experiment,
        run=folder.path,
        algorithm=hydra_config.runtime.choices["algorithm"],
        overrides=hydra_config.overrides.task,
        config_name=str(hydra_config.job.config_name),
    )
    told["wandb_id"] = (folder.manifest or told)["wandb_id"] or secrets.token_hex(4)  # kept over restarts
    folder.write_manifest(told)
    around = around_the_loop(experiment, folder, vanilla=vanilla_folder(folder, told), told=told)
    resume(experiment, folder, around.checkpoint)
    loggers: list[Any] = [instantiate(cfg.logger, version=told["wandb_id"])] if cfg.logger else []
    trainer = trainer_for(cfg, callbacks=around.callbacks, loggers=loggers)
    data_flow = experiment.module.data_flow
    trainer.fit(experiment.module, train_dataloaders=torch.utils.data.DataLoader(data_flow, batch_size=None))
    if experiment.module.progress.generation_steps < experiment.dataset.num_steps:
        print(
            f"Stopped at generation step {experiment.module.progress.generation_steps}. To continue:\n  {command()}", flush=True
        )
        raise SystemExit(130 if around.interruption.requested else 0)
    folder.write_manifest(told | {"status": "finished", "picked_step": around.schedule.best_step})
    around.vanilla.write_manifest(around.vanilla.manifest | {"status": "finished"} if around.vanilla.manifest else {})


@dataclass(frozen=True, kw_only=True)
class AroundTheLoop:
    """The callbacks of a run, in order, and those of them that are asked something afterwards."""

    callbacks: list[lightning.Callback]
    interruption: Interruption
    schedule: EvaluationSchedule
    checkpoint: Checkpoint
    vanilla: RunFolder


def around_the_loop(experiment: Experiment, folder: RunFolder, *, vanilla: RunFolder, told: dict[str, Any]) -> AroundTheLoop:
    """All that is measured, written, shown, stopped and resumed around the four steps."""
    cfg = experiment.cfg
    schedule = EvaluationSchedule(evaluator=experiment.evaluator, folder=folder, vanilla=vanilla)
    checkpoint = Checkpoint(folder=folder, schedule=schedule, every=cfg.checkpoint.every, keep_every=cfg.checkpoint.keep_every)
    interruption, recorder = Interruption(), Recorder(folder=folder, reflection=experiment.reflection)
    watch: Watch = instantiate(cfg.alerts)
    callbacks: list[lightning.Callback] = [
        interruption,  # first: it listens while the untrained model is evaluated
        OwnForward(
            policy=experiment.policy,
            encoder=experiment.encoder,
            rows=experiment.dataset.train,
            tolerance=experiment.cfg.parity.tolerance,
        ),
        recorder,
        LoggerSetup(folder=folder, config=plain(cfg) | {"variant": told["variant"], "arm": told["arm"]}),
        Alerts(folder=folder, recorder=recorder, watch=watch),
        Pictures(
            folder=folder.path.parents[1] / "images",
            dataset=experiment.dataset,
            splits=experiment.evaluator.scheme.splits,
            max_side=cfg.pictures.max_side,
        ),
        Display(folder=folder, label=f"{told['variant']}/seed-{cfg.seed}", num_steps=experiment.dataset.num_steps),
        schedule,
        CompletionTables(
            folder=folder, vanilla=vanilla, schedule=schedule, evaluator=experiment.evaluator, **cfg.completion_tables
        ),
        checkpoint,  # last: what a checkpoint stands for is on the disk before it
    ]
    return AroundTheLoop(
        callbacks=callbacks, interruption=interruption, schedule=schedule, checkpoint=checkpoint, vanilla=vanilla
    )


def resume(experiment: Experiment, folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Takes the newest whole checkpoint and forgets what came after it; without one, begins anew."""
    saved = saved_steps(folder)
    if not saved:
        folder.clear()
        return
    checkpoint.resumed = saved[-1]
    if experiment.algorithm.needs_reference:
        experiment.policy.keep_reference()  # before the trained weights come in
    experiment.policy.load(saved[-1].path)
    folder.cut_back(saved[-1].generation_steps)
    experiment.module.data_flow.start(first_step=saved[-1].generation_steps, rank=0, num_ranks=1)
    print(f"Resuming from {saved[-1].path}", flush=True)


def vanilla_folder(folder: RunFolder, told: dict[str, Any]) -> RunFolder:
    """The folder of the untrained model of this seed, shared by the arms of the study."""
    vanilla = RunFolder(path=folder.path.parents[1] / told["vanilla"] / folder.path.name)
    if vanilla.manifest is None:
        shown = {"variant": told["vanilla"], "arm": told["vanilla"].removeprefix("vanilla-"), "algorithm": "vanilla"}
        vanilla.write_manifest(told | shown | {"vanilla": None})
    return vanilla


def check_same_config(found: dict[str, Any], config: dict[str, Any], folder: RunFolder) -> None:
    """A folder that holds a run with another config is an error that names the keys."""
    before, now = errors.flat(comparable(found["config"])), errors.flat(comparable(config))
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        lines = "\n".join(f"  {key}: {before.get(key)!r} there, {now.get(key)!r} here" for key in differing[:10])
        raise ValueError(
            f"{folder.path} holds a run with another config:\n{lines}\nGive this one another study=NAME, or remove that folder."
        )
