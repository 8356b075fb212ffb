"""The manifests of a run and of its vanilla model, as a start finds and leaves them. Nothing is written before all is compared."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig

from vlm_rl.callbacks.saved_steps import SavedStep, check_vanilla, step_to_resume
from vlm_rl.commands.build import Experiment
from vlm_rl.commands.identity import (
    REFUSED,
    changes,
    check_identity,
    continued,
    differences,
    history_of,
    start,
    stored_manifest,
    tell,
)
from vlm_rl.commands.manifest import manifest
from vlm_rl.commands.storable import overrides_as_written
from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.durable_files import remove_leftovers
from vlm_rl.run_folder import RunFolder, check_link, check_links

OF_AN_EVALUATION = (*REFUSED, "judge_version", "code", "versions", "git", "machine", "threads")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run whose manifest is written."""

    manifest: dict[str, Any]
    resumed: SavedStep | None  # the checkpoint that it goes on from; None: from the beginning


def begin(experiment: Experiment, folder: RunFolder) -> Begun:
    """Write the manifests of the run and of its vanilla model. Raise ValueError, and change nothing, where the data or the base model
    are not those that either began with, or where no checkpoint will do."""
    now, stored = _manifest_of_now(experiment, folder), stored_manifest(folder)
    if stored is not None:
        check_identity(stored, now, splits=SPLITS, folder=folder.path)
    vanilla = vanilla_folder(folder, stored or now)
    study = folder.path.parents[1]  # where runs write beside their own folders, too
    for shared in (study / "images", vanilla.path.parent, vanilla.path):
        check_link(shared, inside=study)
    check_links(vanilla.path)
    for changed in filter(None, (folder.changed_manifest(), vanilla.changed_manifest())):
        raise ValueError(changed)
    of_vanilla = manifest_of_vanilla(vanilla, now, splits=experiment.evaluator.scheme.splits)
    resumed = step_to_resume(folder, accept_damage=experiment.cfg.checkpoint.accept_damage)
    written = manifest_of(folder, now, resumed=resumed)
    remove_leftovers(study / "images", is_shared=True)
    folder.write_manifest(written)
    if of_vanilla != vanilla.manifest:
        vanilla.write_manifest(of_vanilla)
    return Begun(manifest=written, resumed=resumed)


def _manifest_of_now(experiment: Experiment, folder: RunFolder) -> dict[str, Any]:
    hydra_config = HydraConfig.get()
    now = manifest(
        experiment,
        run=folder.path,
        algorithm=hydra_config.runtime.choices["algorithm"],
        overrides=overrides_as_written(),
        config_name=str(hydra_config.job.config_name),
    )
    return now | {"wandb_id": secrets.token_hex(4)}


def manifest_of(folder: RunFolder, now: dict[str, Any], *, resumed: SavedStep | None) -> dict[str, Any]:
    """That of a fresh run, or the one that is there with an entry more in its history."""
    if (stored := stored_manifest(folder)) is None:
        return now
    steps = 0 if resumed is None else resumed.generation_steps
    written = continued(stored, now, generation_steps=steps, folder=folder.path)
    return written | {"wandb_id": stored.get("wandb_id") or now["wandb_id"]}


def vanilla_folder(folder: RunFolder, written: dict[str, Any]) -> RunFolder:
    """The folder of the vanilla model of this seed, shared by the arms of the study."""
    return RunFolder(path=folder.path.parents[1] / written["vanilla"] / folder.path.name)


def manifest_of_vanilla(vanilla: RunFolder, now: dict[str, Any], *, splits: Sequence[str]) -> dict[str, Any]:
    """That of the vanilla model, which the first arm of a study writes; another arm may add to its history.

    Raise ValueError where the evaluated `splits` or the base model are not those that it was made with.
    """
    name = now["vanilla"]
    stored = stored_manifest(vanilla)
    if stored is None:
        arm = name.removeprefix("vanilla-")
        return now | {"variant": name, "arm": arm, "algorithm": "vanilla", "role": "vanilla", "vanilla": None}
    check_vanilla(vanilla, stored)
    if reasons := list(differences(stored, now, splits=splits)):
        raise ValueError(
            f"{vanilla.path} holds the evaluation of the vanilla model that the arms of this study share, and this run would compare "
            f"itself with something else: {'; '.join(reasons)}. Nothing was written. Put back what the study began with, or give this run "
            "another study=NAME."
        )
    changed = {
        key: change
        for key, change in changes(stored, now, keys=OF_AN_EVALUATION).items()
        if not (key.startswith("code.") and None in change.values())  # arms differ in what they name
    }
    tell(changed, what=f"{vanilla.path}, the vanilla model of this study, was evaluated before this start")
    entry = start(generation_steps=0, changed=changed) | {"by": now["variant"]}
    return stored | {"history": [*history_of(stored), *([entry] if changed else [])]}
