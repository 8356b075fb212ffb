"""What a whole plan will take, before its first run: preflight's estimate of a run, times the seeds that a design will probably need."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.commands.study_runs import RunEstimate
from vlm_rl.evaluation.sequential.expected import expected
from vlm_rl.evaluation.sequential.plan import PASSED, Plan, Stage

CASES = ("best", "expected", "worst")


@dataclass(frozen=True, kw_only=True)
class PlanEstimate:
    """Of all stages, in three cases; NaN: not known."""

    runs: tuple[float, float, float]
    device_hours: tuple[float, float, float]
    tokens: tuple[float, float, float]  # at most

    def lines(self, plan: Plan) -> list[str]:
        """What it comes to, beside the budget, in sentences."""
        price, budget = plan.budget.price_per_device_hour, plan.budget
        figures = [
            ("runs", self.runs, None),
            ("device hours", self.device_hours, budget.device_hours),
            ("tokens, at most", self.tokens, budget.tokens),
        ]
        if price is not None:
            figures.append((budget.currency, tuple(hours * price for hours in self.device_hours), budget.money))  # type: ignore[arg-type]
        said = [f"  {name}: {', '.join(map(_amount, values))}{_of(limit)}" for name, values, limit in figures]
        return [
            "What the plan will take (best: the first look decides; expected: mean of no effect, and of one that the largest size "
            "finds with 80 %; worst: all seeds of all stages):",
            *said,
        ]


def estimates_of(plan: Plan) -> dict[tuple[str, str], RunEstimate]:
    """Preflight of each stage and arm, printed as it comes. What it cannot know is left out."""
    if plan.budget.hours_of_a_run is not None:
        hours = plan.budget.hours_of_a_run
        return {
            (stage.name, arm): RunEstimate(hours=(hours,) * 3, tokens=math.nan) for stage in plan.stages for arm in plan.arms
        }
    from vlm_rl.commands.preflight import preflight  # with torch
    from vlm_rl.commands.preflight_jobs import jobs

    found: dict[tuple[str, str], RunEstimate] = {}
    for stage in plan.stages:
        for arm in _possible_arms(plan, stage):
            is_first = stage is plan.stages[0]
            try:
                verdict = preflight(
                    jobs([*stage.words, *plan.arms[arm], "seed=0"])[0].cfg, title=f"stage {stage.name}, arm {arm}"
                )
            except (ValueError, OSError) as error:
                if is_first:
                    raise
                print(f"Stage {stage.name}, arm {arm}: not estimated, and its runs could not start here. {error}", flush=True)
                continue
            if verdict.problems and is_first:
                raise ValueError(f"stage {stage.name}, arm {arm}: its runs could not start. {' '.join(verdict.problems)}")
            if "device_hours" in verdict.known:
                best, middle, worst = verdict.known["device_hours"]
                found[stage.name, arm] = RunEstimate(hours=(best, middle, worst), tokens=verdict.known["tokens"][0])
    return found


def plan_estimate(plan: Plan, *, estimates: Mapping[tuple[str, str], RunEstimate]) -> PlanEstimate:
    """All stages: in the best case each is decided at its first look, in the worst each needs all seeds, and every gate is passed."""
    runs, hours, tokens = ([0.0] * 3 for _ in range(3))
    for stage in plan.stages:
        without, with_effect = (expected(stage.design, has_effect=has).seeds for has in (False, True))
        seeds = (float(stage.looks[0]), (without + with_effect) / 2, float(stage.looks[-1]))
        for arm in _possible_arms(plan, stage):
            one = estimates.get((stage.name, arm), RunEstimate(hours=(math.nan,) * 3, tokens=math.nan))
            for case in range(3):
                runs[case] += seeds[case]
                hours[case] += seeds[case] * one.hours[case]
                tokens[case] += seeds[case] * one.tokens
    return PlanEstimate(runs=_three(runs), device_hours=_three(hours), tokens=_three(tokens))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _possible_arms(plan: Plan, stage: Stage) -> tuple[str, ...]:
    """All arms that a stage may train, its reference first."""
    named = [tuple(one.arms) for one in plan.stages[: plan.stages.index(stage) + 1] if one.arms != PASSED]
    arms = [arm for arm in named[-1] if arm != stage.reference]
    return (*([stage.reference] if stage.reference else []), *arms)


def _amount(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _of(limit: float | None) -> str:
    return "" if limit is None else f" (limit: {limit:,g})"
