"""How a staged study goes on: gates, arms that pass, what ends it, what is taken from the log, and what it can be expected to take."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from vlm_rl.evaluation.sequential.decisions import Decision
from vlm_rl.evaluation.sequential.expected import expected
from vlm_rl.evaluation.sequential.looks import Design
from vlm_rl.evaluation.sequential.plan import Budget, Launch, Plan, Stage
from vlm_rl.evaluation.sequential.progress import Lot, follow
from vlm_rl.evaluation.statistics import Difference

GAINS = {"good": 0.2, "bad": -0.2, "nothing": 0.0, "slow": 0.055}


@dataclass(kw_only=True)
class FakeRuns:
    """Every arm gains what its name says, with seeds that spread by 3 points."""

    most_lots: int = 99
    lots: list[Lot] = field(default_factory=list)

    def limit_passed_by(self, lot: Lot) -> str | None:
        return "tokens" if len(self.lots) >= self.most_lots else None

    def differences(self, lot: Lot) -> Mapping[str, Difference]:
        self.lots.append(lot)
        return {arm: self._of(GAINS[arm], seeds=lot.seeds) for arm in lot.arms}

    def _of(self, gain: float, *, seeds: int) -> Difference:
        return Difference(
            estimate=gain,
            seeds=(seeds,),
            seed_variances=(0.03**2,),
            residual_variances=(0.0,),
            question_variance=0.0,
            num_questions=100,
        )


def plan(*arms: str, second: Stage | None = None) -> Plan:
    first = Stage(name="first", looks=[3, 5, 7, 10], arms=list(arms))
    return Plan(
        question="?",
        smallest_effect=0.02,
        arms={name: [f"name={name}"] for name in GAINS},
        stages=[first, *([second] if second else [])],
    )


def test_a_strong_arm_passes_the_gate_and_goes_on_alone() -> None:
    runs = FakeRuns()
    steps = list(follow(plan("good", "nothing", second=Stage(name="second", looks=[3, 5, 7, 10])), steps=[], runs=runs))
    assert [(step.stage, step.seeds) for step in steps][-1][0] == "second"
    assert steps[-1].decision is Decision.SUCCESS
    assert all(lot.arms == ("good",) for lot in runs.lots if lot.stage.name == "second")
    of_nothing = [step for step in steps if step.stage == "first" and "nothing" in step.looks]
    assert of_nothing[-1].looks["nothing"].finding.name == "FUTILITY"
    assert set(steps[-1].at_stop) == {"good"}


@pytest.mark.parametrize(("arm", "decision"), [("nothing", Decision.FUTILITY), ("bad", Decision.FUTILITY)])
def test_without_a_gain_it_stops_early(arm: str, decision: Decision) -> None:
    steps = list(follow(plan(arm), steps=[], runs=FakeRuns()))
    assert steps[-1].decision is decision
    assert steps[-1].seeds < 10


def test_a_slow_arm_gets_more_seeds_and_what_was_taken_is_not_run_again() -> None:
    whole = list(follow(plan("slow"), steps=[], runs=FakeRuns()))
    assert [step.decision for step in whole[:-1]] == [Decision.GO_ON] * (len(whole) - 1)
    assert len(whole) > 1
    for taken in range(len(whole)):
        runs = FakeRuns()
        assert list(follow(plan("slow"), steps=whole[:taken], runs=runs)) == whole
        assert [lot.seeds for lot in runs.lots] == [step.seeds for step in whole[taken:]]


def test_a_budget_ends_it_before_the_lot_and_more_budget_lets_it_go_on() -> None:
    stopped = list(follow(plan("slow"), steps=[], runs=FakeRuns(most_lots=1)))
    assert [step.decision for step in stopped] == [Decision.GO_ON, Decision.BUDGET]
    assert (stopped[-1].limit, stopped[-1].seeds, stopped[-1].looks) == ("tokens", 5, {})
    assert list(follow(plan("slow"), steps=stopped, runs=FakeRuns()))[-1].decision is Decision.SUCCESS


def test_a_reference_is_trained_and_not_judged() -> None:
    with_reference = plan("good", "nothing")
    stage = replace(with_reference.stages[0], reference="nothing")
    runs = FakeRuns()
    steps = list(follow(replace(with_reference, stages=[stage]), steps=[], runs=runs))
    assert runs.lots[0].trained == ("nothing", "good")
    assert set(steps[0].looks) == {"good"}


def test_the_hash_is_of_what_was_declared_and_not_of_how_runs_are_started() -> None:
    one = plan("good")
    assert replace(one, launch=Launch(words=["hydra/launcher=joblib"])).hash == one.hash
    assert replace(one, budget=Budget(device_hours=3)).hash != one.hash
    assert replace(one, smallest_effect=0.01).hash != one.hash


def test_what_a_design_will_take_lies_between_its_first_and_its_last_look() -> None:
    design = Design(seeds=(3, 5, 7, 10))
    nothing, effect = (expected(design, has_effect=has) for has in (False, True))
    assert 3 < nothing.seeds < effect.seeds < 10
    assert nothing.success < 0.03
    assert effect.success == pytest.approx(0.8, abs=0.04)  # what looking costs of the 80 % of ten seeds
    assert expected(replace(design, futility=None), has_effect=False).seeds > 9.5
