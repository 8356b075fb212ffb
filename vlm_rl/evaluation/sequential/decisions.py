"""What was found and decided at each look of a staged study, as it is kept: one line for each, none of them with a time.

Each line holds the hash of the plan and of the line before, so that a log that was changed by hand shows. What it cost stands elsewhere:
the same study made twice decides in the same bytes.
"""

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.durable_files import write_whole
from vlm_rl.evaluation.sequential.looks import Finding, Look
from vlm_rl.evaluation.statistics import Interval

FILE = "decisions.jsonl"
MARK = "staged.json"  # in the folder of a stage, which says whose stage it is: reports do not judge it beside its plan


class Decision(enum.Enum):
    """What follows from a look."""

    GO_ON = "more seeds"
    NEXT_STAGE = "next stage"
    SUCCESS = "success"  # the last gate was passed
    FUTILITY = "futility"
    HARM = "harm"
    OPEN = "open"  # all seeds are there, and nothing is decided
    BUDGET = "budget"  # the next lot of runs would pass a limit

    @property
    def ends(self) -> bool:
        """Whether the study stops."""
        return self not in (Decision.GO_ON, Decision.NEXT_STAGE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One look, or the decision not to begin the next one."""

    stage: str
    place: int  # number of the look in its stage, from 0
    seeds: int
    decision: Decision
    looks: Mapping[str, Look]  # at the arms that were open; none where the budget decided
    at_stop: Mapping[str, Interval]  # median-unbiased, of the arms that are decided or given up now
    plan: str  # hash
    limit: str | None = None  # which limit of the budget


def decision_of(findings: Sequence[Finding], *, has_open_arms: bool, is_last_stage: bool) -> Decision:
    """From all findings of a stage so far, one for each arm that is no longer open."""
    if has_open_arms:
        return Decision.GO_ON
    if Finding.SUCCESS in findings:
        return Decision.SUCCESS if is_last_stage else Decision.NEXT_STAGE
    for finding, decision in ((Finding.OPEN, Decision.OPEN), (Finding.FUTILITY, Decision.FUTILITY)):
        if finding in findings:
            return decision
    return Decision.HARM


def read_steps(folder: Path) -> list[Step]:
    """The steps that a study has taken. Raise ValueError where the log is not as it was written."""
    file = folder / FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    steps, before = [], ""
    for number, line in enumerate(lines, start=1):
        try:
            read = json.loads(line)
            if read.pop("before") != before:
                raise ValueError("it does not follow the line before")
            steps.append(_step(read))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file}: line {number} is not as it was written ({error}). What was decided can no longer be known. Put the file back, or "
                "begin the study anew under another name: study=NAME."
            ) from None
        before = _hash(line)
    return steps


def add_step(folder: Path, step: Step) -> None:
    """One line more, whole and on the disk when this returns."""
    file = folder / FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    before = _hash(text.splitlines()[-1]) if text else ""
    line = json.dumps(as_json(step) | {"before": before}, sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda place: place.write_text(f"{text}{line}\n", encoding="utf-8"))


def as_json(step: Step) -> dict[str, Any]:
    """Numbers as they are; what is not a number becomes null."""
    plain: dict[str, Any] = json.loads(
        json.dumps(dataclasses.asdict(step), default=lambda one: one.value), parse_constant=lambda _: None
    )
    return plain


def _step(read: Mapping[str, Any]) -> Step:
    looks = {
        arm: Look(**(_numbers(look) | {"finding": Finding(look["finding"]), "interval": _interval(look["interval"])}))
        for arm, look in read["looks"].items()
    }
    at_stop = {arm: _interval(found) for arm, found in read["at_stop"].items()}
    return Step(**(dict(read) | {"decision": Decision(read["decision"]), "looks": looks, "at_stop": at_stop}))


def _interval(read: Mapping[str, Any]) -> Interval:
    return Interval(**_numbers(read))


def _numbers(read: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in read.items()}


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]
