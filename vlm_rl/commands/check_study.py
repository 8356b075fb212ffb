"""`python report.py studies=[...] check=true`: which runs are as they were written, and what training makes again where they are not."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.callbacks.saved_steps import (
    CHECKPOINTS,
    choose,
    problems_of_evaluated,
    problems_of_finished,
    problems_of_vanilla,
    saved_steps,
)
from vlm_rl.commands import searchpath, trust
from vlm_rl.commands.errors import TYPED
from vlm_rl.datasets.kept_pictures import damage_of_picture
from vlm_rl.reports.reading.roles import UNTRAINED, role_of
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.run_folder import FINISHED, TABLES, RunFolder


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One run: what is not whole of it, and how its command makes that again."""

    folder: RunFolder
    problems: list[str]
    remedy: str  # in words
    can_be_made: bool


def check(studies: Sequence[Path], *, make: bool, trusted: Sequence[str] = ()) -> None:
    """Print what is whole, make again what can be made, and raise ValueError if something is not whole at the end.

    `make`: run the command of each run that can mend itself; else this is only said.
    """
    found = find_runs(studies)
    for problem in found.problems:
        print(problem)
    findings = [_finding(RunFolder(path=run.path)) for run in found.runs]
    for finding in findings:
        _say(finding)
    wanting = [finding for finding in findings if finding.problems]
    for finding in wanting if make else ():
        if finding.can_be_made:
            _make_again(finding.folder, trusted=trusted)
    left = [finding for finding in wanting if not make or _finding(finding.folder).problems]
    pictures = [why for study in studies for file in sorted(study.rglob("images/*.png")) if (why := damage_of_picture(file))]
    for why in pictures:
        print(f"{why}. Remove it: a run that evaluates its row, or samples from it, makes it again, and a report does without.")
    print(f"{len(findings) - len(left)} of {len(findings)} runs are whole.", flush=True)
    if left or found.problems or pictures:
        places = ", ".join(str(finding.folder.path) for finding in left[:5]) or "what is listed above"
        raise ValueError(f"Not whole: {places}. Each is listed above with its files and the way out.")


def _finding(folder: RunFolder) -> Finding:
    try:
        manifest = folder.manifest or {}
        role, is_finished = role_of(manifest), manifest.get("status") == "finished"
        if (changed := folder.changed_manifest()) is not None:
            raise ValueError(changed)
        if role not in UNTRAINED:
            return _of_trained(folder, is_finished=is_finished)
        of_role = problems_of_vanilla if role == "vanilla" else problems_of_evaluated
        problems = [*of_role(folder), *_strays(folder)]
    except ValueError as error:
        return Finding(folder=folder, problems=[str(error)], remedy="put a whole copy back", can_be_made=False)
    if role == "vanilla":
        remedy = "the command of any run of this study and seed makes it again"
    else:
        remedy = f"its command makes again what is missing: {manifest.get('command')}"
    return Finding(folder=folder, problems=problems, remedy=remedy, can_be_made=False)


def _of_trained(folder: RunFolder, *, is_finished: bool) -> Finding:
    strays = list(_strays(folder)) if is_finished else []
    problems = (
        [*problems_of_finished(folder), *problems_of_vanilla(_vanilla_of(folder))] if is_finished else ["it is not finished"]
    )
    if not problems:
        return Finding(folder=folder, problems=strays, remedy="move them elsewhere", can_be_made=False)
    choice = choose(folder)
    problems += [why for why in (*choice.damaged.values(), *choice.records, *strays) if why not in problems]
    if choice.saved is None and (choice.damaged or choice.records):
        remedy = "nothing makes this again but training from the beginning: put whole copies of these files back"
        return Finding(folder=folder, problems=problems, remedy=remedy, can_be_made=False)
    begin = choice.saved.path.name if choice.saved else "the beginning"
    remedy = f"its command goes on from {begin} and makes the rest again"
    return Finding(folder=folder, problems=problems, remedy=remedy, can_be_made=True)


def _vanilla_of(folder: RunFolder) -> RunFolder:
    manifest: dict[str, Any] = folder.manifest or {}
    name = manifest.get("vanilla")
    return RunFolder(path=folder.path.parents[1] / str(name) / folder.path.name)


def _strays(folder: RunFolder) -> Iterator[str]:
    """Parquet files that a report would read and that this run has not written."""
    try:
        known = folder.remembered(TABLES, FINISHED)
    except (FileNotFoundError, ValueError):
        return
    for file in sorted([*folder.path.glob("completions/*.parquet"), *folder.path.glob("evaluations/*/*.parquet")]):
        if str(file.relative_to(folder.path)) not in known:
            yield f"{file} was not written by this run"


def _say(finding: Finding) -> None:
    if not finding.problems:
        checkpoints = ", ".join(saved.path.name for saved in saved_steps(finding.folder))
        print(f"{finding.folder.path}: whole{f'; {CHECKPOINTS}: {checkpoints}' if checkpoints else ''}")
        return
    print(f"{finding.folder.path}: not whole")
    for problem in finding.problems:
        print(f"  {problem}")
    print(f"  Way out: {finding.remedy}.", flush=True)


def _make_again(folder: RunFolder, *, trusted: Sequence[str]) -> None:
    """Run the stored command of a run, as pressing arrow-up does. Raise ValueError where it names code that is not trusted."""
    manifest, file = folder.manifest or {}, folder.path / "manifest.json"
    trust.check_manifest(manifest, file=file, trusted=trusted)
    places = searchpath.found(manifest.get("searchpath", []), run=folder.path)
    trust.check_searchpath(places, run=folder.path, file=file, trusted=trusted)
    words = [
        *("-m", "vlm_rl.commands.train", f"--config-name={manifest.get('config_name', 'train')}"),
        *manifest["overrides"],
        *searchpath.as_overrides(places),
        *("hydra.mode=RUN", f'hydra.run.dir="{folder.path.absolute()}"'),
    ]
    print(f"{folder.path}: its command is run again.", flush=True)
    environment = os.environ | {TYPED: str(manifest["command"])}
    if not any(word.startswith("study=") for word in manifest["overrides"]):
        environment["VLM_RL_STUDY"] = str(manifest["study"])
    subprocess.run([sys.executable, *words], env=environment, check=False)
