"""The manifest of a run against itself, its folder and its log: seal, hashes of the config, seed, state, picked step."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.evaluation.endpoint import for_selection
from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.asked_counts import asked_cells
from vlm_rl.reports.reading.early_ends import against_rule, epochs_of
from vlm_rl.reports.reading.files import Record, count_of, number
from vlm_rl.reports.reading.logged_scores import Evaluations, logged_accuracies, step_of_epoch
from vlm_rl.reports.reading.runs import Run

HASHED_SO_SINCE = "role"  # manifests with this key have the hash of today
SEED_FOLDER = re.compile(r"seed-(\d+)")
STEP = 1e-3  # of an epoch, which no step is as short as


def against_config(run: Run) -> Iterator[Phrase]:
    """What the manifest says of itself that does not belong together."""
    if run.has_broken_seal:
        yield say_named("doubts.seal", run=run.name)
    yield from _other_hashes(run)
    named = SEED_FOLDER.fullmatch(run.path.name)
    seeds = {"manifest": run.seed, "config": run.config.get("seed"), "folder": int(named[1]) if named else None}
    if len({seed for seed in seeds.values() if isinstance(seed, int)}) > 1:
        yield say_named("doubts.other_seed", run=run.path, **seeds)


def _other_hashes(run: Run) -> Iterator[Phrase]:
    """Hashes of the config that are not those of the manifest. What only the environment knows was hashed, and is not stored."""
    config = run.manifest.get("config")
    if HASHED_SO_SINCE not in run.manifest or not isinstance(config, dict) or run.is_evaluated_only:
        return
    try:
        if "${" in json.dumps(config):
            return
        vanilla = vanilla_of(config)
        expected = (vanilla.removeprefix("vanilla-"), vanilla) if run.is_vanilla else (arm_of(config), vanilla)
    except (KeyError, TypeError, AttributeError, RecursionError):  # a config that is not whole says nothing
        return
    if expected[0] != run.arm:
        yield say_named("doubts.other_arm", run=run.name, stored=run.arm, found=expected[0])
    stored = run.variant if run.is_vanilla else run.vanilla
    if "history" in run.manifest and stored != expected[1]:
        yield say_named("doubts.other_vanilla", run=run.name, stored=str(stored), found=expected[1])


def against_log(run: Run, *, lines: Sequence[Record], evaluations: Evaluations) -> Iterator[Phrase]:
    """A state or a picked step that the log of a trained run contradicts."""
    trained = (number(line, key="epoch") for line in lines if line.get("event") == "train")
    reached = max(filter(math.isfinite, trained), default=0.0)
    if (epochs := epochs_of(run)) is not None:
        has_all = reached >= epochs - STEP
        if run.finished and not has_all:
            yield say_named("doubts.ends_before", run=run.name, reached=reached, epochs=epochs)
        if not run.finished and has_all and asked_cells(run) <= logged_accuracies(lines).keys():
            yield say_named("doubts.not_unfinished", run=run.name, epochs=epochs)
    yield from against_rule(run, lines=lines)
    picked, best = count_of(run.manifest.get("picked_step")), _best_epoch(run, evaluations=evaluations)
    step = None if best is None else step_of_epoch(lines, epoch=best)
    if run.finished and picked is not None and step is not None and picked != step:
        yield say_named("doubts.other_pick", run=run.name, picked=picked, step=step, epoch=best)


def _best_epoch(run: Run, *, evaluations: Evaluations) -> int | None:
    """What the run's own endpoint selects by the stored accuracies, the first of equals."""
    declared: Any = run.config.get("evaluation", {}).get("scheme", {}).get("endpoint")
    where = tuple(declared.get(key) for key in ("picked_by", "setting")) if isinstance(declared, dict) else ()
    tried = {cell[0]: one.stored for cell, one in sorted(evaluations.items()) if cell[0] > 0 and cell[1:] == where}
    scores = {epoch: for_selection(stored.accuracy) for epoch, stored in tried.items() if stored is not None}
    return max(scores, key=lambda epoch: scores[epoch], default=None)
