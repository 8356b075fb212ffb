"""What a staged study is, declared before its first run: stages in order, when each is looked at, what leads on and what stops it."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vlm_rl.evaluation.sequential.looks import Design
from vlm_rl.evaluation.sequential.spending import Spending

PASSED = "passed"
NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # fit for a folder and for Hydra's command line
WITHOUT_EFFECT = ("launch",)  # fields of a plan that change no decision


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a study may use, all stages together; None: no limit of that kind."""

    device_hours: float | None = None  # of one card or, without any, one machine
    money: float | None = None
    tokens: float | None = None  # that the models write in training
    wall_clock_hours: float | None = None  # since the first run was started
    price_per_device_hour: float | None = None
    currency: str = "USD"
    hours_of_a_run: float | None = (
        None  # device hours, where nobody can estimate them before: servers, or a GPU that is not here
    )

    def __post_init__(self) -> None:
        """Raise ValueError for what is no budget."""
        for name in ("device_hours", "money", "tokens", "wall_clock_hours", "price_per_device_hour", "hours_of_a_run"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"plan.budget.{name}={value} must be more than 0; null sets no limit.")
        if self.money is not None and self.price_per_device_hour is None:
            raise ValueError("plan.budget.money needs a price: plan.budget.price_per_device_hour=2.50, of one card or machine.")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How runs are started. It changes no result, and so is no part of what was declared."""

    command: Sequence[str] = ("python", "train.py", "-m")  # or a script of launchers/
    words: Sequence[str] = ()  # as hydra/launcher=joblib


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Runs that are looked at together, seeds by seeds. A gate leads to the next stage: at least one arm was a success."""

    name: str
    looks: Sequence[int]  # seeds of each arm at each look, as [3, 5, 7, 10]: the first, what is added, the most
    words: Sequence[str] = ()  # of the command line of all its runs: model, dataset, sizes
    arms: Sequence[str] | Literal["passed"] = PASSED  # names of the plan's arms; "passed": those that were a success before
    reference: str | None = (
        None  # the arm that all others are compared with, unpaired; None: each arm's own vanilla model, paired
    )
    gate: Literal["improvement", "not_worse"] = "improvement"
    margin: float = 0.0  # a share: with gate=not_worse, the loss that would not matter
    spending: Spending = "obrien_fleming"
    futility: float | None = 0.05  # conditional power below which an arm is given up; None: never

    def __post_init__(self) -> None:
        """Raise ValueError where the gate and its margin do not fit, and for looks that are none."""
        if not NAME.fullmatch(self.name):
            raise ValueError(f"plan: the stage name {self.name!r} must be fit for a folder: letters, digits, _ and -.")
        if (self.gate == "not_worse") != (self.margin > 0):
            raise ValueError(
                f"stage {self.name}: gate={self.gate} with margin={self.margin}. gate=not_worse needs the loss that would not matter, "
                "as margin=0.01 (1 point); gate=improvement has none."
            )
        assert self.design

    @property
    def design(self) -> Design:
        """Its looks and rules, as they are tested."""
        return Design(seeds=tuple(self.looks), spending=self.spending, futility=self.futility, margin=self.margin)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A staged study."""

    question: str  # what the people who pay want to know, in a sentence
    smallest_effect: float  # delta, a share: a smaller difference would not change what one does
    arms: Mapping[str, Sequence[str]]  # name -> words of the command line
    stages: Sequence[Stage]
    budget: Budget = field(default_factory=Budget)
    launch: Launch = field(default_factory=Launch)

    def __post_init__(self) -> None:
        """Raise ValueError for names that do not fit each other."""
        for arm in self.arms:
            if not NAME.fullmatch(arm) or arm == PASSED:
                raise ValueError(f"plan.arms: {arm!r} must be fit for a folder (letters, digits, _ and -), and not {PASSED!r}.")
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"plan.stages: {names}. A plan needs at least one stage, each with a name of its own.")
        if self.stages[0].arms == PASSED:
            raise ValueError(
                f"stage {names[0]}: arms={PASSED} takes those of the stage before, and this is the first. Name them."
            )
        for stage in self.stages:
            listed = () if stage.arms == PASSED else tuple(stage.arms)
            wanted = (*listed, *([stage.reference] if stage.reference else []))
            if unknown := [arm for arm in wanted if arm not in self.arms]:
                raise ValueError(f"stage {stage.name}: no arm {', '.join(unknown)}. plan.arms has {', '.join(self.arms)}.")
            if stage.arms != PASSED and not set(listed) - {stage.reference}:
                raise ValueError(f"stage {stage.name}: it has no arm beside its reference. Name one in `arms`.")

    def arms_of(self, stage: Stage, *, passed: Sequence[str]) -> tuple[str, ...]:
        """The arms that a stage judges, without its reference."""
        names = passed if stage.arms == PASSED else stage.arms
        return tuple(arm for arm in names if arm != stage.reference)

    def declared(self) -> dict[str, Any]:
        """All that was declared, as JSON has it."""
        whole = {name: value for name, value in dataclasses.asdict(self).items() if name not in WITHOUT_EFFECT}
        found: dict[str, Any] = json.loads(json.dumps(whole, default=list))
        return found

    @property
    def hash(self) -> str:
        """Of what was declared: a plan with another hash is another plan."""
        return hashlib.sha256(json.dumps(self.declared(), sort_keys=True).encode()).hexdigest()[:16]
