"""study.html and study.json: what a staged study decided at each look, by which rule, and what it cost, for people who decide."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jinja2
from markupsafe import Markup

from vlm_rl.evaluation.sequential.decisions import Decision, Step, as_json
from vlm_rl.evaluation.sequential.looks import Finding, Look
from vlm_rl.evaluation.sequential.plan import Plan, Stage
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, catalogue_of, in_language, listed, paragraph, say, say_named
from vlm_rl.reports.staged.picture import boundary_svg
from vlm_rl.reports.tables.table import write_whole

TONES = {Finding.SUCCESS: "good", Finding.HARM: "bad", Finding.FUTILITY: "none", Finding.GO_ON: "open", Finding.OPEN: "open"}


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

    def as_json(self) -> dict[str, Any]:
        """All the numbers; shares in [0, 1], what is missing null."""
        return {
            "format": 1,
            "study": self.study,
            "question": self.plan.question,
            "command": self.command,
            "plan": self.plan.declared(),
            "plan_hash": self.plan.hash,
            "plan_was_changed": self.is_changed,
            "steps": [as_json(step) for step in self.steps],
            "costs": list(self.costs),
            "estimate": asdict(self.estimate),  # type: ignore[call-overload]
            "decision": self.steps[-1].decision.value if self.steps else None,
            "headline": headline(self, self.steps[-1]) if self.steps else None,
        }


def headline(page: StudyPage, step: Step) -> Phrase:
    """What a step says, in sentences."""
    if page.is_changed:
        return paragraph(say_named("staged.changed"), _decided(page, step))
    return paragraph(*(said(page, step, arm=arm) for arm in step.looks), _decided(page, step))


def said(page: StudyPage, step: Step, *, arm: str) -> Phrase:
    """What a look says of an arm."""
    look, stage = step.looks[arm], page.stage_of(step)
    at_stop = step.at_stop.get(arm)
    estimate = look.estimate if at_stop is None else at_stop.estimate
    margin = 0.0 if stage is None else stage.margin
    name = look.finding.name.lower() + ("_not_worse" if look.finding is Finding.SUCCESS and margin else "")
    reference = say("the vanilla model") if stage is None or stage.reference is None else stage.reference
    values = {
        "arm": arm,
        "reference": reference,
        "seeds": look.seeds,
        "margin": 100 * margin,
        "delta": 100 * page.plan.smallest_effect,
    }
    values |= {"gain": _points(estimate), "low": _points(look.interval.low), "high": _points(look.interval.high)}
    values |= {"chance": 100 * look.conditional_power, "confidence": 100 * (1 - look.level)}
    if look.finding is Finding.OPEN and _is_small(look.interval, delta=page.plan.smallest_effect):
        name = "no_difference"
    if math.isnan(look.p_value):
        return say_named("staged.no_spread", **values)
    return say_named(f"staged.{name}", **values)


def _is_small(interval: Interval, *, delta: float) -> bool:
    return -delta < interval.low and interval.high < delta


def _points(share: float) -> float:
    return round(100 * share, 1) + 0.0


def _decided(page: StudyPage, step: Step) -> Phrase:
    names = [stage.name for stage in page.plan.stages]
    following = names[names.index(step.stage) + 1 :][:1] if step.stage in names else []
    limit = say_named(f"staged.limit.{step.limit}") if step.limit else ""
    return say_named(
        f"staged.decided.{step.decision.name.lower()}",
        stage=step.stage,
        following="".join(following),
        seeds=step.seeds,
        limit=limit,
    )


def write_study(page: StudyPage, *, folder: Path, language: str) -> Path:
    """Write study.json and study.html, each whole, and return the path of the page."""
    text = json.dumps(page.as_json(), indent=1, ensure_ascii=False, default=str)
    write_whole(folder / "study.json", text=_without_nan(text) + "\n")
    return write_whole(folder / "study.html", text=render(page, language=language))


def _without_nan(text: str) -> str:
    """NaN is no JSON; json.dumps writes it as a bare word."""
    return json.dumps(json.loads(text, parse_constant=lambda _: None), indent=1, ensure_ascii=False)


def render(page: StudyPage, *, language: str) -> str:
    """The whole page in one language; it needs no network and no script."""
    translate = partial(in_language, catalogue=catalogue_of(language))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlm_rl.reports", package_path="staged"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else translate(value),
    )
    css = (Path(__file__).parents[1] / "page" / "page.css").read_text(encoding="utf-8")
    return environment.get_template("study.html.j2").render(
        page=page,
        language=language,
        css=Markup(css),
        say=say,
        say_named=say_named,
        headline=headline(page, page.steps[-1]),
        tone="none" if page.is_changed or not page.steps[-1].looks else _tone(page.steps[-1]),
        rows=list(_rows(page)),
        pictures=[(title, Markup(svg)) for title, svg in _pictures(page, translate=translate)],
        costs=list(_costs(page)),
        rules=list(_rules(page)),
    )


def _tone(step: Step) -> str:
    order = (Finding.SUCCESS, Finding.HARM, Finding.FUTILITY, Finding.OPEN, Finding.GO_ON)
    return TONES[min((look.finding for look in step.looks.values()), key=order.index)]


def _rows(page: StudyPage) -> Iterator[dict[str, Any]]:
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
        "estimate": f"{_points(look.estimate):+.1f}",
        "interval": _ends(look.interval),
        "statistic": _amount(look.statistic, form="{:+.2f}"),
        "boundary": f"±{look.boundary:.2f}",
        "power": _amount(100 * look.conditional_power, form="{:.0f} %"),
        "finding": say_named(f"staged.finding.{look.finding.name.lower()}"),
    }


def _ends(interval: Interval) -> str:
    return "–" if math.isnan(interval.low) else f"{_points(interval.low):+.1f} … {_points(interval.high):+.1f}"


def _with_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{_points(interval.estimate):+.1f} ({_ends(interval)})"


def _short(decision: Decision) -> Phrase:
    return say_named(f"staged.short.{decision.name.lower()}")


def _amount(value: float | None, *, form: str = "{:.3g}") -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else form.format(value)


def _pictures(page: StudyPage, *, translate: Any) -> Iterator[tuple[Phrase, str]]:
    """Statistic against boundary by information: one picture for each stage and arm."""
    for name in dict.fromkeys(step.stage for step in page.steps):
        arms = dict.fromkeys(arm for step in page.steps if step.stage == name for arm in step.looks)
        for arm in arms:
            looks = [step.looks[arm] for step in page.steps if step.stage == name and arm in step.looks]
            title = say("Stage {stage}, arm {arm}", stage=name, arm=arm)
            yield title, boundary_svg(looks, name=f"picture-{name}-{arm}", translate=translate)


def _costs(page: StudyPage) -> Iterator[dict[str, Any]]:
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


def _rules(page: StudyPage) -> Iterator[Phrase]:
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
