"""Which runs there are: from study, variant or run folders to manifests. What the runs measured is read elsewhere."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from vlm_rl.checksums import is_sealed
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.files import leads_out, read_object
from vlm_rl.reports.reading.roles import Role, role_of
from vlm_rl.reports.reading.starts import Start, starts_of

SEED_PATTERN = "seed-*/manifest.json"  # of a variant
RUN_PATTERNS = ("manifest.json", "*/manifest.json", "*/*/manifest.json")  # of a run, a variant, a study folder
LARGEST_MANIFEST = 2**24  # characters
SEALED_SINCE = ("sha256", "history")  # keys of manifests that are written with their own hash
CONFIG: dict[str, Any] = {  # the tables of a config that a report reads
    **{name: {} for name in ("dataset", "alerts", "trainer", "algorithm")},
    "model": {"optimization": {"part_learning_rates": {}}},
    "evaluation": {"scheme": {}, "image": {}, "reflection": {}},
}
INTACT = "intact"  # the figures as they are
IN_ORDER = attrgetter("study", "variant", "seed")


class ReportError(ValueError):
    """A report cannot be made, for a reason that its reader can put right."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder, as its manifest describes it."""

    path: Path
    study: str
    variant: str
    seed: int
    arm: str  # hash of the config but for seed and paths
    algorithm: str
    finished: bool
    judge_version: str
    commit: str
    data: dict[str, str]  # split -> hash of its rows
    vanilla: str | None  # variant folder of the vanilla model, in the same study
    role: Role = "policy"
    machine: str = ""  # in words: `Linux x86_64, 2 CPU cores, no GPU`
    starts: tuple[Start, ...] = ()  # none where the manifest does not say
    config: dict[str, Any] = field(default_factory=dict, hash=False)  # resolved; {} where the manifest has none
    manifest: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)  # as it was read, whatever is in it
    has_broken_seal: bool = False  # its manifest has the hash of something else, or lost its own

    @property
    def name(self) -> str:
        """`study/variant/seed-0`."""
        return f"{self.study}/{self.variant}/seed-{self.seed}"

    @cached_property
    def study_folder(self) -> Path:
        """The study folder of <study>/<variant>/seed-0, or of <study>/<variant>/seed-0/evaluate/<what>/seed-0."""
        folders = self.path.resolve().parents
        return folders[min(4 if "evaluate" in Path(self.variant).parts else 1, len(folders) - 1)]

    @property
    def image_control(self) -> str:
        """What its evaluations were shown: `intact` figures, or what stood for them, such as `blank` (evaluation/image=blank)."""
        image = self.config.get("evaluation", {}).get("image", {})
        return str(image.get("_target_", "")).rpartition(".")[2].lower() or INTACT

    @property
    def is_vanilla(self) -> bool:
        """Whether this is the model before any training, evaluated once for all arms of its seed."""
        return self.role == "vanilla"

    @property
    def is_evaluated_only(self) -> bool:
        """Whether evaluate.py made this folder, of a model or a checkpoint: there was no training here to speak of."""
        return self.role == "evaluated"


@dataclass(frozen=True, kw_only=True)
class RunsFound:
    """The runs under the folders asked for, and what could not be read there."""

    runs: tuple[Run, ...]
    not_passed: tuple[Run, ...]  # of the same arms, in the same studies, but not under the folders asked for
    problems: tuple[str, ...]
    others: tuple[Run, ...] = ()  # all else of these studies that was not passed


def find_runs(studies: Sequence[Path]) -> RunsFound:
    """Every run under the given study, variant or run folders, each once."""
    if not studies:
        raise ReportError(
            "studies=[] names no folder. Pass at least one, as in: python report.py studies='[outputs/quickstart]'"
        )
    tried: dict[Path, Run | None] = {}
    problems: list[str] = []
    for study in studies:
        for folder in _run_folders(study):
            if folder.resolve() not in tried:
                tried[folder.resolve()] = read_or_say(folder, problems=problems, within=study)
    runs = sorted((run for run in tried.values() if run is not None), key=IN_ORDER)
    if not runs:
        raise ReportError("No run could be read.\n" + "\n".join(problems))
    arms = {(run.study_folder, run.arm) for run in runs}
    done = {(run.study_folder, run.arm, run.seed) for run in runs if run.finished}
    found = (
        run for run in _beside(tried, problems=problems) if run.finished or (run.study_folder, run.arm, run.seed) not in done
    )
    beside = sorted(found, key=IN_ORDER)
    not_passed, others = (
        [run for run in beside if ((run.study_folder, run.arm) in arms) == is_same] for is_same in (True, False)
    )
    return RunsFound(runs=tuple(runs), not_passed=tuple(not_passed), others=tuple(others), problems=tuple(problems))


def _beside(tried: Mapping[Path, Run | None], *, problems: list[str]) -> Iterator[Run]:
    """The runs of the same studies that were not passed: leaving out seeds, or arms, changes the result."""
    for study in sorted({run.study_folder for run in tried.values() if run is not None}):
        folders = [manifest.parent for manifest in sorted(study.glob(f"*/{SEED_PATTERN}"))]
        read = (read_or_say(folder, problems=problems, within=study) for folder in folders if folder.resolve() not in tried)
        yield from (run for run in read if run is not None)


def read_or_say(folder: Path, *, problems: list[str], within: Path | None = None) -> Run | None:
    """The run in a folder, or None and a problem more; its manifest must lie `within`, by default in that very folder."""
    path = folder / "manifest.json"
    if why := leads_out(path, folder=within or folder) or leads_out(path, folder=folder):
        problems.append(why)
        return None
    try:
        return read_run(folder)
    except (KeyError, ValueError, TypeError, OSError, OverflowError, AttributeError) as error:
        reason = f"{type(error).__name__} {error}"
        problems.append(say("{path} could not be read and its run is left out: {reason}", path=path, reason=reason))
        return None


def read_run(folder: Path) -> Run:
    """The run that lies in a folder."""
    with (folder / "manifest.json").open(encoding="utf-8", errors="replace") as file:
        text = file.read(LARGEST_MANIFEST + 1)
    if len(text) > LARGEST_MANIFEST:
        raise ValueError(f"has more than {LARGEST_MANIFEST:,} characters")
    manifest = read_object(text)
    parts = {key: part if isinstance(part := manifest.get(key), dict) else {} for key in ("git", "data", "config")}
    return Run(
        path=folder,
        **{key: _word(manifest[key], key=key) for key in ("study", "variant", "arm", "algorithm")},
        seed=_seed(manifest["seed"]),
        finished=manifest["status"] == "finished",
        judge_version=str(manifest.get("judge_version", "")),
        commit=str(parts["git"].get("commit") or ""),
        data=parts["data"],
        vanilla=None if manifest.get("vanilla") is None else _word(manifest["vanilla"], key="vanilla"),
        role=role_of(manifest),
        machine=str(manifest.get("machine", "")),
        starts=starts_of(manifest),
        config=_tables(parts["config"], known=CONFIG),
        manifest=manifest,
        has_broken_seal=any(key in manifest for key in SEALED_SINCE) and not _is_sealed(text),
    )


def _is_sealed(text: str) -> bool:
    """Of the text itself: what is read has no half surrogate pairs."""
    try:
        return is_sealed(json.loads(text))
    except RecursionError:
        return False


def _word(word: Any, *, key: str) -> str:
    """A text of the manifest, which names things in the report."""
    if not isinstance(word, str) or not word or "\x00" in word:
        raise ValueError(f"{key} is no text that names anything: {str(word)[:40]!r}")
    return word


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"seed is no seed: {str(value)[:40]!r}")
    return value


def _tables(config: dict[str, Any], *, known: dict[str, Any]) -> dict[str, Any]:
    """The config without known tables that are not dictionaries, so that later readers can rely on their type."""
    kept = {key: value for key, value in config.items() if key not in known or isinstance(value, dict)}
    return kept | {key: _tables(kept[key], known=inner) for key, inner in known.items() if key in kept}


def vanilla_folder(run: Run) -> Path | None:
    """Where the evaluations of the vanilla model of this run's seed lie, if they do."""
    if run.is_vanilla:
        return run.path
    folder = _vanilla_in_study(run)
    return folder if folder is not None and folder.is_dir() else None


def vanilla_outside(run: Run) -> Phrase | None:
    """The problem of a manifest that names a vanilla model outside of its study; None where it does not."""
    if run.vanilla is None or _vanilla_in_study(run) is not None:
        return None
    return say_named("gaps.vanilla_outside", path=run.path / "manifest.json", name=run.vanilla)


def _vanilla_in_study(run: Run) -> Path | None:
    """The folder that a run's manifest names, which need not exist; None where it would be outside of the study."""
    if run.vanilla is None or Path(run.vanilla).is_absolute():
        return None
    try:
        found = (run.path.resolve().parent.parent / run.vanilla / f"seed-{run.seed}").resolve()
    except (OSError, RuntimeError):  # a circle of links
        return None
    return found if found.is_relative_to(run.study_folder) else None


def _run_folders(study: Path) -> list[Path]:
    if not study.is_dir():
        raise ReportError(f"studies: there is no folder {study}. {_nearest(study)}")
    found = [manifest.parent for pattern in RUN_PATTERNS for manifest in sorted(study.glob(pattern))]
    if not found:
        looked_for = ", ".join(str(study / pattern) for pattern in RUN_PATTERNS)
        raise ReportError(
            f"studies: no run under {study}. Looked for {looked_for}. "
            "Pass a study folder (outputs/<study>), a variant or a run in it. "
            f"{_nearest_with_runs(study)}"
        )
    return found


def _nearest(missing: Path) -> str:
    parent = missing.parent
    if not parent.is_dir():
        return f"Its parent {parent} does not exist either; paths are relative to where the command was typed."
    names = sorted(path.name for path in parent.iterdir() if path.is_dir())
    close = difflib.get_close_matches(missing.name, names, n=3, cutoff=0.4) or names[:8]
    return f"Nearest in {parent}: {', '.join(close)}." if close else f"{parent} holds no folder at all."


def _nearest_with_runs(empty: Path) -> str:
    around = [folder for folder in (empty.parent, empty) if folder != Path("/")]
    folders = (path for folder in around for path in sorted(folder.iterdir()) if path.is_dir())
    with_runs = [str(path) for path in folders if any(any(path.glob(pattern)) for pattern in RUN_PATTERNS)]
    return f"Folders with runs nearby: {', '.join(with_runs[:8])}." if with_runs else "No folder nearby holds a run."
