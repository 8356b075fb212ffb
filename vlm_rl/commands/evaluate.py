"""`python evaluate.py checkpoint=...`: evaluate a run, a checkpoint or a plain model by the whole scheme. Stored answers are kept."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import hydra
import pyarrow as pa
import pyarrow.parquet as pq
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from vlm_rl import ranks
from vlm_rl.arm_hash import vanilla_of
from vlm_rl.callbacks.evaluation_schedule import evaluation_file
from vlm_rl.callbacks.logger_sinks import log_once
from vlm_rl.callbacks.saved_steps import check_whole
from vlm_rl.checksums import hash_of
from vlm_rl.commands import errors, rank_logs, resolvers, searchpath, trust
from vlm_rl.commands.build import Experiment, build, composed, plain
from vlm_rl.commands.checks import checked_algorithm, checked_placement
from vlm_rl.commands.evaluation_reuse import Parts, RowCounter, check_answers, checkpoint_files, stored_answers
from vlm_rl.commands.evaluation_target import EVALUATED, Target, find, kept_searchpath, taken_out
from vlm_rl.commands.identity import continued, stored_manifest
from vlm_rl.commands.known_warnings import silence_known_warnings
from vlm_rl.commands.manifest import command, manifest
from vlm_rl.commands.model_checks import check_model
from vlm_rl.commands.model_forwards import loaded_model
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.placement import Placement, remarks
from vlm_rl.commands.rank_group import again, joined
from vlm_rl.commands.serving import connected
from vlm_rl.commands.storable import overrides_as_written
from vlm_rl.datasets.kept_pictures import keep_picture
from vlm_rl.device import peak_bytes
from vlm_rl.durable_files import remove_leftovers, write_whole
from vlm_rl.evaluation.evaluator import Description, describe, metrics
from vlm_rl.evaluation.settings import title_of
from vlm_rl.models.loading import check_weights
from vlm_rl.run_folder import RunFolder

RESULT = "evaluation.json"
WIDTH_IN_FILES = 140  # characters of the table where the output is no terminal
Cells = Mapping[tuple[str, str], pa.Table]  # (split, setting name) -> sample records


def main() -> None:
    """The console command."""
    resolvers.register()
    errors.explained(_main)


def _main() -> None:
    sys.argv, trusted = trust.taken_out(sys.argv)
    sys.argv, checkpoint = taken_out(sys.argv)
    sys.argv = searchpath.with_kept(
        sys.argv, kept=kept_searchpath(checkpoint, trusted=trusted, typed=searchpath.typed(sys.argv))
    )

    @hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="evaluate")
    def run(_: DictConfig) -> None:
        target, typed = find(checkpoint, trusted=trusted), overrides_as_written()
        overrides = [*target.overrides, "job=evaluate", *typed]
        cfg = composed(overrides, config_name=target.config_name, searchpath=searchpath.in_use())
        if target.run is not None:
            trust.check_composed(cfg, file=target.run / "manifest.json", trusted=trusted, words=typed)
        placement = checked_placement("evaluate", cfg)
        own, limit = (f"checkpoint={checkpoint}", *trust.as_words(trusted)), timedelta(minutes=cfg.ranks.collective_minutes)
        with joined(placement, again=again("evaluate", own=own), limit=limit):
            folder = ranks.from_first(target.folder(plain(cfg)).path.absolute())
            with rank_logs.written(folder, command=command()):
                evaluate(cfg, target, placement=placement)

    run()


def evaluate(cfg: DictConfig, target: Target, *, placement: Placement | None = None) -> dict[str, float]:
    """Answer what is missing, on all ranks, print the table and return the accuracies."""
    silence_known_warnings()
    placement = placement or checked_placement("evaluate", cfg)
    if target.weights is not None:
        check_weights(target.weights)
        check_whole(target.weights)
    for remark in remarks(placement, cfg.trainer):
        print(remark, flush=True)
    experiment = build(cfg, placement=placement, algorithm=checked_algorithm("evaluate", cfg))
    try:
        if target.weights is not None:
            with ranks.in_turn(place=placement.local_rank, num_places=placement.num_local_ranks):
                experiment.policy.load(target.weights)
            experiment.policy.version = target.generation_steps
        model = loaded_model(experiment.policy, experiment.encoder, experiment.dataset, tolerance=cfg.parity.tolerance)
        check_model(model)
        folder = target.folder(plain(cfg))
        folder.path.mkdir(parents=True, exist_ok=True)
        with (
            ranks.locked(folder.path / ".evaluating"),  # a second one waits, and then finds everything done
            connected(experiment, model, folder=folder.path),
        ):
            return _evaluate(experiment, target, folder)
    finally:
        experiment.reward.close()


def _evaluate(experiment: Experiment, target: Target, folder: RunFolder) -> dict[str, float]:
    written = ranks.from_first(begin(experiment, target, folder) if ranks.is_first() else {})
    tables = answered(experiment, target, folder, epoch=written["epoch"])
    values = metrics(tables, settings=experiment.evaluator.scheme.settings)
    if ranks.is_first():
        _write_result(experiment, folder, tables, values=values, written=written)
    return values


def _write_result(
    experiment: Experiment, folder: RunFolder, tables: Cells, *, values: dict[str, float], written: dict[str, Any]
) -> None:
    """Writes evaluation.json and the manifest, logs the accuracies and prints the table."""
    described = {
        (split, setting.name): describe(tables[split, setting.name], k=setting.k, reflection=experiment.reflection)
        for split, setting in experiment.evaluator.scheme.cells
    }
    result = {name: written[name] for name in ("checkpoint", "generation_steps", "epoch", "config")} | {
        "metrics": values,
        "cells": {f"{split}/{setting}": description.as_json() for (split, setting), description in described.items()},
    }
    write_whole(folder.path / RESULT, lambda file: file.write_text(json.dumps(result, indent=1)))
    folder.remember(folder.record() | {RESULT: hash_of(folder.path / RESULT)})
    folder.write_manifest(written | {"status": "finished"})
    if experiment.cfg.logger:
        logger = instantiate(experiment.cfg.logger, version=f"{written['arm'][:8]}-{written['seed']}")
        log_once(logger, values, config=written["config"], generation_steps=written["generation_steps"], epoch=written["epoch"])
    show(described, folder=folder.path, checkpoint=written["checkpoint"])


def begin(experiment: Experiment, target: Target, folder: RunFolder) -> dict[str, Any]:
    """Write the manifest and return it: that of this evaluation, or the one of the answers that are there with a longer history.

    Raise ValueError, and write nothing, where these answers do not belong to this evaluation.
    """
    written, stored = manifest_of(experiment, target, folder), stored_manifest(folder)
    check_answers(folder, manifest=written, splits=experiment.evaluator.scheme.splits)
    if stored is not None and stored_answers(folder):
        written = continued(stored, written, generation_steps=target.generation_steps, folder=folder.path)
    remove_leftovers(folder.path, is_shared=False)
    folder.recall()
    folder.write_manifest(written)
    return written


def manifest_of(experiment: Experiment, target: Target, folder: RunFolder) -> dict[str, Any]:
    """The manifest of an evaluation, with the keys of a run: a report shows it as an arm of its own."""
    config, run = plain(experiment.cfg), target.run
    written = manifest(
        experiment, run=folder.path, algorithm=EVALUATED, overrides=target.overrides, config_name=target.config_name
    )
    written |= {
        "arm": hashlib.sha256(f"{written['arm']} {EVALUATED} {target.chosen}".encode()).hexdigest()[:16],
        "role": "evaluated",
        "study": "evaluate",
        "vanilla": None,
        "generation_steps": target.generation_steps,
        "checkpoint": str(target.weights or run or config["model"]["name"]),
        "model_files": checkpoint_files(target.weights),
        "epoch": target.epoch(steps_per_epoch=experiment.module.data_flow.steps_per_epoch),
    }
    if run is not None:
        written |= {
            "study": run.absolute().parents[1].name,
            "variant": f"{run.absolute().parent.name}/evaluate/{written['variant']}",
        }
    if run is not None and target.weights is not None:  # its vanilla model, from here; it may not have been evaluated alike
        written["vanilla"] = os.path.relpath(run.absolute().parents[1] / vanilla_of(config), folder.path.absolute().parents[1])
    return written


def answered(experiment: Experiment, target: Target, folder: RunFolder, *, epoch: float) -> Cells:
    """Every sample of every cell, on every rank; parts of an earlier attempt are read from the disk."""
    evaluator, begun, num_new = experiment.evaluator, time.perf_counter(), 0
    files = {(split, s.name): evaluation_file(round(epoch), split, s.name) for split, s in evaluator.scheme.cells}
    places = {cell: folder.path / "parts" / file.parent.name / file.stem for cell, file in files.items()}
    unknown = [cell for cell, file in files.items() if ranks.is_first() and folder.whole_table(str(file)) is None]
    unknown = ranks.from_first(unknown)
    others = f", first of {ranks.num_ranks()} ranks" if ranks.num_ranks() > 1 else ""
    with RowCounter(console=Console()) as counter:
        keeps: dict[str, dict[str, Parts]] = {}
        for split, name in unknown:
            counted = counter.begin(f"{split}, {title_of(name)}{others}", total=evaluator.share(split))
            keeps.setdefault(split, {})[name] = Parts(folder=places[split, name], counter=counted)
        for split, made in evaluator.evaluate_splits(
            experiment.policy, epoch=epoch, generation_steps=target.generation_steps, keeps=keeps
        ):
            num_new += sum(table.num_rows for table in made.values())
            for name, table in made.items() if ranks.is_first() else ():
                folder.write_table(str(files[split, name]), table)
                folder.remember()
                shutil.rmtree(places[split, name], ignore_errors=True)  # the whole table is on the disk
    for place in places.values() if ranks.is_first() else ():
        shutil.rmtree(place, ignore_errors=True)
    tables = {
        cell: ranks.from_first(pq.read_table(folder.path / file) if ranks.is_first() else None) for cell, file in files.items()
    }
    if num_new and ranks.is_first():
        peak = peak_bytes(experiment.policy.device)
        cost = {"event": "evaluation", "generation_steps": target.generation_steps, "memory/peak_bytes": peak}
        folder.append("cost.jsonl", cost | {"time/evaluation": time.perf_counter() - begun})
        keep_pictures(experiment, folder.path.parents[1] / "images")
    return tables


def keep_pictures(experiment: Experiment, folder: Path) -> None:
    """Save small copies of the evaluated pictures for a report on this evaluation."""
    max_side = experiment.cfg.pictures.max_side
    for split in experiment.evaluator.scheme.splits if max_side is not None else ():
        for row in experiment.evaluator.scheme.image(experiment.dataset.split(split)):
            for image in row.images:
                keep_picture(image, folder=folder, max_side=max_side)


def show(described: Mapping[tuple[str, str], Description], *, folder: Path, checkpoint: str) -> None:
    """Print one row for each cell."""
    table = Table()
    for column in ("", "accuracy", "questions", "pass@1..n", "length", "cut off", "reflects", "judge"):
        table.add_column(column, justify="right" if column else "left", no_wrap=column in ("", "accuracy"))
    for (split, setting), cell in described.items():
        level = cell.accuracy
        table.add_row(
            f"{split}/{setting}",
            f"{100 * level.estimate:.1f} [{100 * level.low:.1f}, {100 * level.high:.1f}]",
            str(cell.num_questions),
            " ".join(f"{100 * value:.0f}" for value in cell.pass_at),
            f"{cell.response_length['response_length/mean']:.1f}",
            f"{100 * cell.response_length['response_length/truncated']:.1f}",
            f"{100 * cell.reflection['reflection_ratio']:.1f}",
            ", ".join(f"{count} {verdict}" for verdict, count in cell.verdicts.items() if count),
        )
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"{checkpoint}: shares in %, lengths in tokens; in brackets 95 % over new questions, for this model only")
    Console(width=None if console.is_terminal else WIDTH_IN_FILES).print(table)
    console.print(f"Every sample is in {folder}")
    console.print(f"As an arm of a report: python report.py studies='[...,\"{folder}\"]'")


if __name__ == "__main__":  # python -m; by its own name, so that a launcher's processes can import what they are sent
    from vlm_rl.commands import evaluate as by_name

    by_name.main()
