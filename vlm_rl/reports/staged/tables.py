"""The rows of study.html: looks, costs, and the rules that were declared."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_rl.evaluation.sequential.decisions import Decision
from vlm_rl.evaluation.sequential.looks import Finding, Look
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.staged.said import points
from vlm_rl.reports.staged.study import StudyPage

TONES = {Finding.SUCCESS: "good", Finding.HARM: "bad", Finding.FUTILITY: "none", Finding.GO_ON: "open", Finding.OPEN: "open"}


def look_rows(page: StudyPage) -> Iterator[dict[str, Any]]:
    """A row for each look at each arm, and one where the budget decided."""
    for number, step in enumerate(page.steps, start=1):
        cost = page.cost_at(step)
        hours = _amount(cost.get("device_hours"))
        same = {"number": number, "stage": step.stage, "seeds": step.seeds, "hours": hours, "decision": _short(step.decision)}
        for arm, look in step.looks.items():
            yield (
                same | _row(look) | {"arm": arm, "at_stop": _with_interval(step.at_stop.get(arm)), "tone": TONES[look.finding]}
            )
        if not step.looks:
            blank = dict.fromkeys(("estimate", "interval", "statistic", "boundary", "power", "finding", "at_stop", "arm"), "–")
            yield same | blank | {"tone": "none"}


def _row(look: Look) -> dict[str, str | Phrase]:
    return {
        "estimate": f"{points(look.estimate):+.1f}",
        "interval": _ends(look.interval),
        "statistic": _amount(look.statistic, form="{:+.2f}"),
        "boundary": f"±{look.boundary:.2f}",
        "power": _amount(100 * look.conditional_power, form="{:.0f} %"),
        "finding": say_named(f"staged.finding.{look.finding.name.lower()}"),
    }


def _ends(interval: Interval) -> str:
    return "–" if math.isnan(interval.low) else f"{points(interval.low):+.1f} … {points(interval.high):+.1f}"


def _with_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{points(interval.estimate):+.1f} ({_ends(interval)})"


def _short(decision: Decision) -> Phrase:
    return say_named(f"staged.short.{decision.name.lower()}")


def _amount(value: float | None, *, form: str = "{:.3g}") -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else form.format(value)


def cost_rows(page: StudyPage) -> Iterator[dict[str, Any]]:
    """What was estimated and what was spent, beside the limits."""
    budget, last = page.plan.budget, page.costs[-1] if page.costs else {}
    price, hours = budget.price_per_device_hour, last.get("device_hours")
    figures: list[tuple[Phrase, Sequence[float] | None, float | None, float | None]] = [
        (say("Runs"), page.estimate.runs, last.get("runs"), None),
        (say("Device hours"), page.estimate.device_hours, hours, budget.device_hours),
        (say("Tokens written in training"), page.estimate.tokens, last.get("tokens"), budget.tokens),
        (say("Wall clock hours"), None, last.get("wall_clock_hours"), budget.wall_clock_hours),
    ]
    if price is not None:
        money = [price * one for one in page.estimate.device_hours]
        figures.append(
            (say("Money ({currency})", currency=budget.currency), money, None if hours is None else hours * price, budget.money)
        )
    for kind, estimate, spent, limit in figures:
        cases = ["–"] * 3 if estimate is None else [_amount(one) for one in estimate]
        yield {
            "kind": kind,
            "best": cases[0],
            "expected": cases[1],
            "worst": cases[2],
            "spent": _amount(spent),
            "limit": _amount(limit),
        }


def rules(page: StudyPage) -> Iterator[Phrase]:
    """What was declared before, in sentences."""
    for stage in page.plan.stages:
        against = say("the vanilla model") if stage.reference is None else stage.reference
        arms = say("the arms that passed") if stage.arms == "passed" else listed(page.plan.arms_of(stage, passed=()))
        gate = say_named(f"staged.gate.{stage.gate}", margin=100 * stage.margin)
        spending = say_named(f"staged.spending.{stage.spending}")
        futility = (
            say_named("staged.never_futile")
            if stage.futility is None
            else say_named("staged.futile", chance=100 * stage.futility)
        )
        looks = ", ".join(map(str, stage.looks))
        yield paragraph(
            say_named("staged.rule", stage=stage.name, arms=arms, reference=against, looks=looks, gate=gate, spending=spending),
            futility,
        )
