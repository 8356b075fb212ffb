"""One run: check, build, train. A run that was stopped resumes from its newest checkpoint."""

import json
import os
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl import ranks, run_lock
from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.callbacks.saved_steps import SavedStep, problems_of_finished, problems_of_vanilla, remember_finished
from vlm_rl.commands import leaving, rank_logs, resolvers, slurm_job
from vlm_rl.commands.around_the_loop import AroundTheLoop, around_the_loop
from vlm_rl.commands.build import Experiment, build
from vlm_rl.commands.checks import checked_algorithm, checked_placement
from vlm_rl.commands.dry_run import show_rollouts
from vlm_rl.commands.known_warnings import silence_known_warnings
from vlm_rl.commands.manifest import check_stored_run, command
from vlm_rl.commands.model_checks import check_model
from vlm_rl.commands.model_forwards import loaded_model
from vlm_rl.commands.placement import Placement, remarks, trainer_of
from vlm_rl.commands.rank_group import again, by_first, joined
from vlm_rl.commands.run_start import begin, vanilla_folder
from vlm_rl.commands.serving import connected
from vlm_rl.commands.started_ranks import PARENT
from vlm_rl.run_folder import RunFolder, check_links


def train(cfg: DictConfig, *, folder: RunFolder) -> None:
    """One run, from its beginning or from its newest checkpoint to its end, on all its ranks."""
    silence_known_warnings()
    placement = checked_placement("train", cfg)
    if not resolvers.is_named(cfg.study) and placement.rank == 0:
        print("This study has no name, so it cannot be resumed; study=NAME gives it one.", flush=True)
    by_others = placement.are_started and PARENT not in os.environ  # torchrun, SLURM: only as a group they have a first one
    alone = run_lock.held(folder.path, command=command(), lost=leaving.leave_at_once) if cfg.dry_run is None else nullcontext()
    with ExitStack() as around:
        if not placement.are_started:
            around.enter_context(alone)
            if is_finished(folder, cfg):
                return  # before other ranks are started for nothing
        algorithm = checked_algorithm("train", cfg)
        own = f"hydra.run.dir={json.dumps(str(folder.path.absolute()), ensure_ascii=False)}"
        limit = timedelta(minutes=cfg.ranks.collective_minutes)
        around.enter_context(joined(placement, again=again("train", own=(own,)), limit=limit))
        if by_others:
            around.enter_context(by_first(alone))
        if ranks.from_first(by_others and ranks.is_first() and is_finished(folder, cfg)):
            return
        folder = RunFolder(path=ranks.from_first(folder.path))
        if cfg.dry_run is None:
            around.enter_context(rank_logs.written(folder.path, command=command()))
        _train(cfg, folder, placement, algorithm=algorithm)


def is_finished(folder: RunFolder, cfg: DictConfig) -> bool:
    """Print and return whether the run is finished; raise ValueError where the folder holds another run."""
    found = folder.manifest
    if found is not None:
        check_links(folder.path)
        check_stored_run(found, cfg, folder)
        if found["status"] == "finished":
            if not (problems := [*problems_of_finished(folder), *problems_of_vanilla(vanilla_folder(folder, found))]):
                print(f"{folder.path} is finished; nothing to do.", flush=True)
                return True
            print(f"{folder.path} was finished, but it is not as it was then: {problems[0]}.", flush=True)
    elif folder.has_records():
        raise ValueError(
            f"{folder.path / 'manifest.json'} is not there, but records of a run are. Put a whole copy of it back, or remove that folder."
        )
    return False


def _train(cfg: DictConfig, folder: RunFolder, placement: Placement, *, algorithm: Algorithm) -> None:
    for remark in remarks(placement, cfg.trainer):
        print(remark, flush=True)
    experiment = build(cfg, command="train", placement=placement, algorithm=algorithm)
    try:
        model = loaded_model(experiment.policy, experiment.encoder, experiment.dataset, tolerance=cfg.parity.tolerance)
        check_model(model)
        with connected(experiment, model, folder=folder.path):
            if cfg.dry_run == "rollouts":
                show_rollouts(experiment)
            else:
                _fit(experiment, folder, placement)
    finally:
        experiment.reward.close()


def _fit(experiment: Experiment, folder: RunFolder, placement: Placement) -> None:
    cfg = experiment.cfg
    begun = ranks.from_first(begin(experiment, folder) if ranks.is_first() else None)
    assert begun is not None
    written, vanilla = begun.manifest, vanilla_folder(folder, begun.manifest)
    around = around_the_loop(experiment, folder, vanilla=vanilla, written=written)
    resume(experiment, folder, around, placement, resumed=begun.resumed)
    loggers: list[Any] = [instantiate(cfg.logger, version=written["wandb_id"])] if cfg.logger else []
    trainer = trainer_of(cfg.trainer, callbacks=around.callbacks, logger=loggers or False)
    data_flow = experiment.module.data_flow
    try:
        trainer.fit(experiment.module, train_dataloaders=torch.utils.data.DataLoader(data_flow, batch_size=None))
    except SystemExit:  # Lightning's word for a second Ctrl-C
        raise KeyboardInterrupt from None
    if experiment.module.progress.generation_steps < experiment.module.data_flow.num_steps:
        print(
            f"Stopped at generation step {experiment.module.progress.generation_steps}. To continue:\n  {command()}", flush=True
        )
        if around.interruption.requested and ranks.is_first():
            slurm_job.requeue()
        ranks.gathered(None)  # torchrun and srun end all ranks as soon as one of them is gone with 130
        raise SystemExit(130 if around.interruption.requested else 0)
    if ranks.is_first():
        remember_finished(folder)
        early_end = around.bottleneck.in_manifest() if around.bottleneck else {}
        folder.write_manifest(written | {"status": "finished", "picked_step": around.schedule.best_step} | early_end)


def resume(
    experiment: Experiment, folder: RunFolder, around: AroundTheLoop, placement: Placement, *, resumed: SavedStep | None
) -> None:
    """Load a checkpoint and delete later records; without one, start from the beginning."""
    around.checkpoint.resumed = resumed
    if resumed is None:
        if ranks.is_first():
            folder.clear()
        return
    if ranks.is_first():
        record = resumed.record()
        if experiment.cfg.checkpoint.accept_damage:
            record = {name: written for name, written in record.items() if not folder.damages({name: written})}
        folder.cut_back(record, generation_steps=resumed.generation_steps)
    around.schedule.evaluate_vanilla(experiment.module)  # where it was damaged since; before the trained weights come in
    if experiment.algorithm.needs_reference:
        experiment.policy.keep_reference()
    with ranks.in_turn(place=placement.local_rank, num_places=placement.num_local_ranks):
        experiment.policy.load(resumed.path)
    experiment.module.data_flow.start(first_step=resumed.generation_steps, rank=0, num_ranks=1)
    print(f"Resuming from {resumed.path}", flush=True)
