"""Seeds that must have been run: those that commands and Hydra's `multirun.yaml` name, and those of evaluated vanilla models.

A run that was begun is there, finished or not. One whose manifest cannot be read is not.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import yaml

from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.files import leads_out
from vlm_rl.reports.reading.runs import SEED_PATTERN, Run

SEED_GROUPS: Mapping[str, Sequence[int]] = {"paper": range(3), "five": range(5), "ten": range(10)}  # conf/seeds/
RANGE = re.compile(r"range\((\d{1,6})(?:,\s*(\d{1,6}))?(?:,\s*(\d{1,6}))?\)")
SWEEP = "multirun.yaml"
LARGEST_SWEEP = 2**20  # bytes
MOST_JOBS = 10_000  # of a command
NOT_PART = ("seed", "seeds", "study")  # of what a run is, but for which run of it and where
WORKED_OUT = re.compile(r"(?!choice\()[a-z]+\(")  # range(3), glob(*), sort(a,b): what Hydra makes of it is not known here


def seeds_of(value: str) -> set[int]:
    """The seeds of `0,1,2`, `range(5)` or `choice(0,1)`; none of what is something else."""
    text = value.strip().strip("'\"")
    if match := RANGE.fullmatch(text.replace(" ", "")):
        numbers = [int(part) for part in match.groups() if part is not None]
        return set(range(*numbers)) if 0 not in numbers[2:] else set()
    parts = text.removeprefix("choice(").removesuffix(")").split(",")
    return (
        {int(part) for part in parts if part.strip().isdecimal()} if all(part.strip().isdecimal() for part in parts) else set()
    )


def values_of(word: str) -> list[str]:
    """The values of `a,[b, c]` or `choice(1e-5,2)`, each as it reads however it was typed; none where only Hydra knows them."""
    text = word.strip()
    if WORKED_OUT.match(text) or {"&", "*"} & {*text}:  # of YAML, a short text with these may stand for a huge one
        return []
    if text.startswith("choice(") and text.endswith(")"):
        text = text.removeprefix("choice(").removesuffix(")")
    try:
        return [_plain(value) for value in yaml.safe_load(f"[{text}]")]
    except (ValueError, RecursionError, yaml.YAMLError):
        return []


def _plain(value: Any) -> str:
    """Hydra writes 1e-5 as 1e-05, 0.10 as 0.1 and true as True."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return str(value)
    try:
        return f"{float(value):.15g}"
    except (ValueError, OverflowError):
        return str(value)


def seeds_asked(words: Iterable[str]) -> set[int]:
    """The seeds that the words of a command name: `seed=` before a group of `seeds=`."""
    keys = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    if (named := keys.get("seed", keys.get("hydra.sweeper.params.seed"))) is not None:
        return seeds_of(named)
    return set(SEED_GROUPS.get(keys.get("seeds", ""), ()))


def commands_of(run: Run) -> Iterator[str]:
    """Every command that a run was started by."""
    history = run.manifest.get("history")
    starts = [start.get("changed") for start in history if isinstance(start, dict)] if isinstance(history, list) else []
    changed = [start.get("command") for start in starts if isinstance(start, dict)]
    later = [change.get("now") for change in changed if isinstance(change, dict)]
    yield from (command for command in (run.manifest.get("command"), *later) if isinstance(command, str))


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quotation mark without its second one
        return command.split()


def _job(run: Run) -> dict[str, str]:
    """The words of a run's own job, by key, but for seeds."""
    words = run.manifest.get("overrides")
    given = [word.split("=", 1) for word in words if isinstance(word, str) and "=" in word] if isinstance(words, list) else []
    return {key: value for key, value in given if key not in NOT_PART}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The last sweep into a study's folder, as Hydra wrote it down."""

    choices: Mapping[str, str]  # key -> its value or values, but for seeds
    seeds: frozenset[int]

    def has(self, run: Run) -> bool:
        """Whether a run is one of its jobs, by the words of its command."""
        own = _job(run)
        return own.keys() == self.choices.keys() and all(
            value == self.choices[key] or {*values_of(value)} & {*values_of(self.choices[key])} for key, value in own.items()
        )


def sweep_of(study: Path) -> Sweep | None:
    """What `multirun.yaml` of a study says; None where it cannot be read or names no seeds."""
    file = study / SWEEP
    try:
        if leads_out(file, folder=study) is not None or file.stat().st_size > LARGEST_SWEEP:
            return None
        hydra: Any = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
        task = [str(word) for word in hydra["overrides"]["task"] or ()]
        params = {str(key): str(value) for key, value in (hydra["sweeper"].get("params") or {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return None
    seeds = seeds_asked([*(f"{key}={value}" for key, value in params.items()), *task])
    given = params | dict(word.lstrip("+").split("=", 1) for word in task if "=" in word)
    choices = {key: value for key, value in given.items() if key not in NOT_PART}
    return Sweep(choices=choices, seeds=frozenset(seeds)) if seeds else None


def named_seeds(run: Run) -> Iterator[tuple[str, frozenset[int]]]:
    """Each command that a run was started by, and the seeds that it names."""
    yield from ((command, frozenset(seeds_asked(_words(command)))) for command in commands_of(run))


def missing_seeds(label: str, *, runs: Sequence[Run], others: Sequence[Run]) -> Iterator[Phrase]:
    """Seeds of an arm that its own commands or its sweep name; `others`: runs that were not passed, also of other arms."""
    own = {run.seed for run in (*runs, *others) if run.arm == runs[0].arm}
    said: frozenset[int] = frozenset()
    for run in runs:
        for command, seeds in named_seeds(run):
            if missing := seeds - own - said:
                said |= missing
                yield say_named("doubts.command_names", arm=label, seeds=listed_seeds(missing), run=run.name, command=command)
    for study in sorted({run.study_folder for run in runs}):
        if (sweep := sweep_of(study)) is None or not any(sweep.has(run) for run in runs if run.study_folder == study):
            continue
        if missing := sweep.seeds - own - said:
            said |= missing
            yield say_named("doubts.sweep_names", arm=label, seeds=listed_seeds(missing), path=study / SWEEP)


def unexplained_vanilla(runs: Sequence[Run], *, study_runs: Iterable[Run]) -> Iterator[Phrase]:
    """Seeds of which the vanilla model of these runs was evaluated and no run of the study is there; `study_runs`: all of them."""
    explained = {(run.study_folder, Path(run.vanilla).name, run.seed) for run in study_runs if run.vanilla is not None}
    for study, name in sorted({(run.study_folder, Path(run.vanilla).name) for run in runs if run.vanilla is not None}):
        folders = [file.parent.name.removeprefix("seed-") for file in (study / name).glob(SEED_PATTERN)]
        seeds = {int(seed) for seed in folders if seed.isdecimal()}
        if missing := {seed for seed in seeds if (study, name, seed) not in explained}:
            yield say_named("doubts.vanilla_alone", path=study / name, seeds=listed_seeds(missing))


def missing_arms(runs: Sequence[Run]) -> Iterator[Phrase]:
    """What commands name beside a run and no run of its study does, a sentence for each command; it may have failed before it began."""
    for _, command, missing in missing_jobs(runs):
        shown = "; ".join(missing[:3]) + "; ..." * (len(missing) > 3)
        yield say_named("gaps.missing_arms", jobs=shown, command=command)


def missing_jobs(runs: Sequence[Run]) -> Iterator[tuple[Path, str, list[str]]]:
    """(study folder, command, its jobs that no run of that study does, as `algorithm=grpo, model=tiny`)."""
    said: set[tuple[Path, str]] = set()
    for run in runs:
        job = _job(run)
        for command in commands_of(run):
            if (place := (run.study_folder, command)) in said:
                continue
            said.add(place)
            words = dict(word.split("=", 1) for word in _words(command) if "=" in word)
            asked = {key: values_of(words[key]) for key in job if key in words}
            swept = {key: values for key, values in asked.items() if len(values) > 1}
            jobs = [_job(other) for other in runs if other.study_folder == run.study_folder]
            there = {tuple(next(iter(values_of(other.get(key, ""))), None) for key in swept) for other in jobs}
            named = product(*swept.values()) if swept and prod(map(len, swept.values())) <= MOST_JOBS else ()
            missing = [", ".join(map("=".join, zip(swept, values, strict=True))) for values in named if values not in there]
            if missing:
                yield run.study_folder, command, missing


def fewer_seeds(label: str, *, runs: Sequence[Run], study_runs: Iterable[Run]) -> Iterator[Phrase]:
    """Seeds that other trained arms of the same studies have. That is weak evidence: they may have been planned so."""
    studies, own = {run.study_folder for run in runs}, {run.seed for run in runs}
    there = {run.seed for run in study_runs if run.study_folder in studies and not (run.is_vanilla or run.is_evaluated_only)}
    if missing := there - own:
        yield say_named("gaps.fewer_seeds", arm=label, seeds=listed_seeds(missing))


def listed_seeds(seeds: Iterable[int]) -> str:
    """`3, 4`, the first ten."""
    ordered = sorted(seeds)
    return ", ".join(map(str, ordered[:10])) + ", ..." * (len(ordered) > 10)
