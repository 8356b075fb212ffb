"""The verdict of a study's report.json on the arm of one run; without a report that covers the run, the verdict is "not judged"."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.commands.evaluation_target import Target
from vlm_rl.run_folder import RunFolder

FORMAT = 2  # of report.json
NOT_JUDGED = "not_judged"


@dataclass(frozen=True, kw_only=True)
class StoredVerdict:
    """What a report says of an arm, in its own words."""

    outcome: str  # improvement, harm, no_difference, open or not_judged
    said: str  # with effect and interval
    question: str = ""  # what was judged, and since when that is fixed
    basis: tuple[str, ...] = ()  # seeds, intervals, what the study could not have seen
    risks: tuple[str, ...] = ()  # what else there is to know of it, and what is not known
    scope: str = ""
    command: str = ""  # makes the report again


def verdict_on(target: Target, *, manifest: Mapping[str, Any], report: Path | None) -> StoredVerdict:
    """What the report says of the arm of this run; a report that was named and does not speak of it is an error.

    `manifest` is the run's manifest; without `report` the study's own is taken, if it is there.
    """
    if target.chosen != "picked":
        why = f"a verdict speaks of the checkpoints that validation picks, and this is another one, {target.chosen}"
        return unjudged(why)
    assert target.run is not None
    path = target.run.absolute().parents[1] / "report.json" if report is None else report
    try:
        return _read_or_refuse(path, run=target.run, manifest=manifest)
    except (ValueError, FileNotFoundError) as reason:
        if report is not None:
            raise
        return unjudged(str(reason).split(". ")[0])


def unjudged(why: str) -> StoredVerdict:
    """No claim."""
    return StoredVerdict(outcome=NOT_JUDGED, said=f"Not judged: {why}.")


def _read_or_refuse(path: Path, *, run: Path, manifest: Mapping[str, Any]) -> StoredVerdict:
    try:
        return _read(path, run=run, manifest=manifest)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(
            f"{path} or a manifest that it names is malformed ({type(error).__name__}). report.py writes it again."
        ) from error


def _read(path: Path, *, run: Path, manifest: Mapping[str, Any]) -> StoredVerdict:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no report {path.name} of this study. python report.py 'studies=[{run.parents[1]}]' makes it."
        )
    again = f"Make it again: python report.py 'studies=[{run.parents[1]}]'."
    report = _report(path)
    arm = _arm(report, manifest=manifest)
    if arm is None:
        raise ValueError(f"the report {path.name} does not speak of this run. {again}")
    if (why := _left_out(path, run=run, manifest=manifest, report=report)) is not None:
        raise ValueError(f"the report {path.name} {why}. {again}")
    verdicts = {verdict["arm"]: verdict for verdict in report["decision"]["verdicts"]}
    if arm not in verdicts:
        raise ValueError(f"the report {path.name} compares this arm with nothing. {again}")
    decision, mine = report["decision"], verdicts[arm]
    others = tuple(f"{other}: " for other in verdicts if other != arm)
    return StoredVerdict(
        outcome=mine["outcome"],
        said=mine["said"],
        question=decision["question"],
        basis=tuple(mine["more"]),
        risks=tuple(_from_outside(risk) for risk in decision["risks"] if not risk.startswith(others)),
        scope=decision.get("scope", ""),
        command=report["command"],
    )


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise ValueError(f"{path} is no report.json of this version. report.py writes one.")
    return report


def _arm(report: Mapping[str, Any], *, manifest: Mapping[str, Any]) -> str | None:
    """The label of the run's arm, if the run is among those that the report's means speak of."""
    name = f"{manifest['study']}/{manifest['variant']}/seed-{manifest['seed']}"
    for row in report["tables"].get("runs", ()):
        if (row["run"], row["hash"], row["status"]) == (name, manifest["arm"][:8], "finished"):
            return str(row["arm"])
    return None


def _left_out(path: Path, *, run: Path, manifest: Mapping[str, Any], report: Mapping[str, Any]) -> str | None:
    """What makes the report out of date, in words: a run of any arm in it, as each verdict is corrected for the others.

    By the time of each manifest, and by its arm where times were lost in copying. Runs elsewhere cannot be looked at.
    """
    written = path.stat().st_mtime
    listed = {row["run"]: row["hash"] for row in report["tables"]["runs"]}
    for name, file in _beside(listed, study=run.absolute().parents[1], manifest=manifest):
        if file.resolve().parent != file.parent.resolve() or not file.is_file():
            raise ValueError(f"{file} is a link or no file, and is not followed. Put a copy of the file in its place")
        if file.stat().st_mtime > written:
            return f"is older than the run {name}"
        arm = (RunFolder(path=file.parent).manifest or {}).get("arm", "")[:8]
        if listed.get(name, arm) != arm or (name not in listed and arm in listed.values()):
            return f"does not have the run {name} as it is now"
    return None


def _beside(names: Iterable[str], *, study: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Names and manifests of all seeds of these runs' variants, in this study and in those that lie beside it."""
    outputs = study.parents[manifest["study"].count("/")]
    for name in dict.fromkeys(name.rpartition("/")[0] for name in names):
        of, _, variant = name.rpartition("/")
        folder = (study if of == manifest["study"] else outputs / of) / variant
        if "\x00" in name or not folder.resolve().is_relative_to(outputs.resolve()):
            raise ValueError(f"the report names a run outside of {outputs} ({name!r}), which is not looked at. Make it again")
        for file in sorted(folder.glob("seed-*/manifest.json")):
            yield f"{name}/{file.parent.name}", file


def _from_outside(sentence: str) -> str:
    """A sentence of a report that names a section of it, for those who have the report not before them."""
    return sentence.replace("under “", "in the report under “")
