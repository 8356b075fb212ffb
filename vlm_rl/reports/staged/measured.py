"""What the runs of a stage say: the difference of each arm from its reference at a number of seeds, and what all runs have cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlm_rl.evaluation.statistics import Difference
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.doubts import Kind
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import ReportError, find_runs
from vlm_rl.reports.tables.charged_time import charged_hours, total
from vlm_rl.reports.verdicts.comparisons import compare
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint

SEEN_TO: tuple[Kind, ...] = ("missing_seeds", "staged")  # doubts about which runs there are and who judges them: the plan does


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What runs have used; NaN where it is not known."""

    device_hours: float = 0.0
    tokens: float = 0.0
    runs: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            device_hours=self.device_hours + other.device_hours, tokens=self.tokens + other.tokens, runs=self.runs + other.runs
        )


def differences_of(folder: Path, *, arms: Sequence[str], reference: str | None, seeds: int) -> Mapping[str, Difference]:
    """Of the first `seeds` seeds of each arm in a study folder; `arms` and `reference` are variants, names of folders in it.

    Raise ReportError where an arm cannot be judged.
    """
    records = _records(folder, seeds=seeds)
    choice = choose_endpoint(records)
    against = None if reference is None else _arm(records, reference)
    found: dict[str, Difference] = {}
    for name in arms:
        comparison = compare(_arm(records, name), reference=against, choice=choice)
        doubts = [doubt.said for doubt in comparison.doubts if doubt.kind not in SEEN_TO]
        reasons: list[str] = [*doubts, *([comparison.refusal] if comparison.refusal else [])]
        if not choice.is_declared:
            reasons.append(choice.note)
        if comparison.difference is not None and set(comparison.difference.seeds) != {seeds}:
            reasons.append(
                f"{seeds} seeds are wanted, and {' and '.join(map(str, comparison.difference.seeds))} could be judged"
            )
        if comparison.difference is None or reasons:
            raise ReportError(f"{folder / name} cannot be judged: {' '.join(reasons)}")
        found[name] = comparison.difference
    return found


def spent_in(folder: Path) -> Spent:
    """By all runs of a study folder, finished or not; the evaluation of vanilla models is not charged."""
    if not any(folder.glob("*/seed-*/manifest.json")):
        return Spent()
    records = _records(folder, seeds=None)
    hours = charged_hours(records)
    runs = [run for arm in records.trained for run in arm.runs]
    tokens = math.fsum(known for run in runs if not math.isnan(known := total(run, name="tokens/response")))
    return Spent(device_hours=math.fsum(hours[run.run.path] for run in runs), tokens=tokens, runs=len(runs))


def _records(folder: Path, *, seeds: int | None) -> Records:
    """Of the runs with the first seeds; later ones may be there where a study was interrupted."""
    found = find_runs([folder])
    runs = tuple(run for run in found.runs if seeds is None or run.seed < seeds)
    return read_records(replace(found, runs=runs, not_passed=(), others=()), reflection=None)


def _arm(records: Records, name: str) -> Arm:
    arms = [arm for arm in records.trained if any(run.run.variant == name for run in arm.runs)]
    if len(arms) != 1 or {run.run.variant for run in arms[0].runs} != {name}:
        kinds = ", ".join(arm.label for arm in arms) or "no run"
        raise ReportError(
            f"the runs of arm {name} are not one arm of their own ({kinds}): two arms of the plan have the same config, or its words or "
            "the program were changed after its first runs. Put them back, or begin anew under another name: study=NAME."
        )
    return arms[0]
