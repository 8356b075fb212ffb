"""A staged study as it stands: its plan, its steps, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vlm_rl.evaluation.sequential.decisions import Step
from vlm_rl.evaluation.sequential.plan import Plan, Stage


@runtime_checkable
class Estimated(Protocol):
    """What a plan was estimated to take, in the best, the expected and the worst case."""

    @property
    def runs(self) -> Sequence[float]: ...
    @property
    def device_hours(self) -> Sequence[float]: ...
    @property
    def tokens(self) -> Sequence[float]: ...


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """A study as it stands."""

    plan: Plan
    study: str
    steps: tuple[Step, ...]
    costs: tuple[Mapping[str, Any], ...]  # what had been spent by all stages at each look
    estimate: Estimated
    command: str

    @property
    def is_changed(self) -> bool:
        """Whether an earlier look was made under another plan: then nothing is claimed any more."""
        return any(step.plan != self.plan.hash for step in self.steps)

    def stage_of(self, step: Step) -> Stage | None:
        """None where the plan has no such stage any more."""
        return next((stage for stage in self.plan.stages if stage.name == step.stage), None)

    def cost_at(self, step: Step) -> Mapping[str, Any]:
        """What had been spent at a look; empty where nothing is known."""
        found = [line for line in self.costs if (line["stage"], line["seeds"]) == (step.stage, step.seeds)]
        return found[-1] if found else {}
