"""study.html and study.json: what a staged study decided at each look, by which rule, and what it cost, for people who decide."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vlm_rl.evaluation.sequential.decisions import Step, as_json
from vlm_rl.evaluation.sequential.looks import Finding
from vlm_rl.reports.phrase import Phrase, catalogue_of, in_language, say, say_named
from vlm_rl.reports.staged.picture import boundary_svg
from vlm_rl.reports.staged.said import headline
from vlm_rl.reports.staged.study import StudyPage
from vlm_rl.reports.staged.tables import TONES, cost_rows, look_rows, rules
from vlm_rl.reports.tables.table import write_whole


def study_json(page: StudyPage) -> dict[str, Any]:
    """All the numbers; shares in [0, 1], what is missing null."""
    return {
        "format": 1,
        "study": page.study,
        "question": page.plan.question,
        "command": page.command,
        "plan": page.plan.declared(),
        "plan_hash": page.plan.hash,
        "plan_was_changed": page.is_changed,
        "steps": [as_json(step) for step in page.steps],
        "costs": list(page.costs),
        "estimate": asdict(page.estimate),  # type: ignore[call-overload]
        "decision": page.steps[-1].decision.value if page.steps else None,
        "headline": headline(page, page.steps[-1]) if page.steps else None,
    }


def write_study(page: StudyPage, *, folder: Path, language: str) -> Path:
    """Write study.json and study.html, each whole, and return the path of the page."""
    text = json.dumps(study_json(page), indent=1, ensure_ascii=False, default=str)
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
        rows=list(look_rows(page)),
        pictures=[(title, Markup(svg)) for title, svg in _pictures(page, translate=translate)],
        costs=list(cost_rows(page)),
        rules=list(rules(page)),
    )


def _tone(step: Step) -> str:
    order = (Finding.SUCCESS, Finding.HARM, Finding.FUTILITY, Finding.OPEN, Finding.GO_ON)
    return TONES[min((look.finding for look in step.looks.values()), key=order.index)]


def _pictures(page: StudyPage, *, translate: Any) -> Iterator[tuple[Phrase, str]]:
    """Statistic against boundary by information: one picture for each stage and arm."""
    for name in dict.fromkeys(step.stage for step in page.steps):
        arms = dict.fromkeys(arm for step in page.steps if step.stage == name for arm in step.looks)
        for arm in arms:
            looks = [step.looks[arm] for step in page.steps if step.stage == name and arm in step.looks]
            title = say("Stage {stage}, arm {arm}", stage=name, arm=arm)
            yield title, boundary_svg(looks, name=f"picture-{name}-{arm}", translate=translate)
