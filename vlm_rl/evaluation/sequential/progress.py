"""How a staged study goes on: a lot of seeds, a look, a decision, until one of them ends it. Knows no runs and no files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vlm_rl.evaluation.sequential.decisions import Decision, Step, decision_of
from vlm_rl.evaluation.sequential.estimates import at_the_stop
from vlm_rl.evaluation.sequential.looks import Finding, Look, look_at
from vlm_rl.evaluation.sequential.plan import Plan, Stage
from vlm_rl.evaluation.statistics import Difference


@dataclass(frozen=True, kw_only=True)
class Lot:
    """The runs that a look needs: the first `seeds` seeds of each arm. Most of them are there from earlier looks."""

    stage: Stage
    arms: tuple[str, ...]  # that are open
    seeds: int

    @property
    def trained(self) -> tuple[str, ...]:
        """The arms to train, the reference among them."""
        return (*([self.stage.reference] if self.stage.reference else []), *self.arms)


@runtime_checkable
class Runs(Protocol):
    """Who trains and measures."""

    def limit_passed_by(self, lot: Lot) -> str | None:
        """The limit of the budget that a lot would pass, by name."""

    def differences(self, lot: Lot) -> Mapping[str, Difference]:
        """Train what of a lot is not trained yet, and compare each open arm with its reference."""


@dataclass(kw_only=True)
class StageState:
    """Where one stage is."""

    stage: Stage
    family: tuple[str, ...]
    looks: dict[str, list[Look]] = field(default_factory=dict)  # by arm

    @property
    def findings(self) -> dict[str, Finding]:
        """The last of each arm."""
        return {arm: looks[-1].finding for arm, looks in self.looks.items()}

    @property
    def open_arms(self) -> tuple[str, ...]:
        """Arms that get more seeds."""
        return tuple(arm for arm in self.family if self.findings.get(arm, Finding.GO_ON) is Finding.GO_ON)

    def passed(self) -> tuple[str, ...]:
        """Arms that were a success."""
        return tuple(arm for arm in self.family if self.findings.get(arm) is Finding.SUCCESS)

    def add(self, looks: Mapping[str, Look]) -> None:
        """What one more look found."""
        for arm, look in looks.items():
            self.looks.setdefault(arm, []).append(look)


def follow(plan: Plan, *, steps: Sequence[Step], runs: Runs) -> Iterator[Step]:
    """Every step of a study, in order: those that were taken before as they were, then new ones, until the study ends."""
    taken = {(step.stage, step.place): step for step in steps if step.decision is not Decision.BUDGET}
    passed: tuple[str, ...] = ()
    for stage in plan.stages:
        state = StageState(stage=stage, family=plan.arms_of(stage, passed=passed))
        for place, seeds in enumerate(stage.looks):
            if (step := taken.get((stage.name, place))) is not None:
                state.add(step.looks)
            else:
                step = _new_step(plan, state, runs=runs, place=place, seeds=seeds)
            yield step
            if step.decision.ends:
                return
            if step.decision is Decision.NEXT_STAGE:
                break
        passed = state.passed()


def _new_step(plan: Plan, state: StageState, *, runs: Runs, place: int, seeds: int) -> Step:
    """Have the runs made that a look needs, add what it finds to the state, and decide."""
    stage = state.stage
    lot = Lot(stage=stage, arms=state.open_arms, seeds=seeds)
    if (limit := runs.limit_passed_by(lot)) is not None:
        return Step(
            stage=stage.name,
            place=place,
            seeds=seeds,
            decision=Decision.BUDGET,
            looks={},
            at_stop={},
            plan=plan.hash,
            limit=limit,
        )
    decided = sum(finding in (Finding.SUCCESS, Finding.HARM) for finding in state.findings.values())
    looks = look_at(runs.differences(lot), design=stage.design, place=place, family=len(state.family), decided=decided)
    state.add(looks)
    ended = [arm for arm, look in looks.items() if look.finding is not Finding.GO_ON]
    return Step(
        stage=stage.name,
        place=place,
        seeds=seeds,
        decision=decision_of(
            list(state.findings.values()), has_open_arms=bool(state.open_arms), is_last_stage=stage is plan.stages[-1]
        ),
        looks=looks,
        at_stop={arm: at_the_stop(state.looks[arm], margin=stage.margin) for arm in ended},
        plan=plan.hash,
    )
