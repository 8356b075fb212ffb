"""The one page for people who decide: verdicts, a picture of the effects, cost, risks, and what the next stage would need.

It only arranges: verdicts are made in verdicts/, all else in the files beside this one.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.action import action_of
from vlm_rl.reports.first_page.arms_in_words import MOST_NAMED, few, name_of
from vlm_rl.reports.first_page.costs import cost_sentences, costs_of
from vlm_rl.reports.first_page.forest import Forest, forest_of
from vlm_rl.reports.first_page.headline import headline_of
from vlm_rl.reports.first_page.next_stage import next_stages
from vlm_rl.reports.first_page.plans import plans_of
from vlm_rl.reports.first_page.risks import risks_of
from vlm_rl.reports.phrase import Phrase, listed, paragraph, phrase_of, say, say_named, words
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.table import Table, finite
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of, sentences

TONES = {"improvement": "good", "harm": "bad", "open": "open"}  # colours of cards; grey the others
BADGES = {outcome.name.lower(): say_named(f"verdict.{outcome.name.lower()}.badge") for outcome in Outcome}


@dataclass(frozen=True, kw_only=True)
class Card:
    """The verdict on one arm, as report.json has it."""

    arm: str  # its label
    name: str  # in plain words, with the label
    outcome: str
    effect: float | None  # share; None where there is none
    said: Phrase  # in large type
    more: tuple[Phrase, ...]  # what it rests on, a sentence each

    @property
    def badge(self) -> Phrase:
        """The verdict in two words."""
        return BADGES[self.outcome]

    @property
    def tone(self) -> str:
        """Its colour on the page."""
        return TONES.get(self.outcome, "none")


@dataclass(frozen=True, kw_only=True)
class DecisionPage:
    """Every word of it, ready to be shown."""

    headline: Phrase
    action: Phrase  # the one that is recommended
    question: Phrase
    scope: Phrase  # which model and data the answer speaks of
    verdicts: tuple[Card, ...]
    forest: Forest | None
    cost: tuple[Phrase, ...]
    risks: tuple[Phrase, ...]  # a line for each kind where there are many arms
    every_risk: tuple[Phrase, ...]  # each arm's, as report.json has them
    next_stage: tuple[Phrase, ...]

    @property
    def has_many_cards(self) -> bool:
        """Whether the picture comes first and each card shows only its verdict until it is opened."""
        return len(self.verdicts) > MOST_NAMED

    @property
    def glossary(self) -> tuple[tuple[Phrase, Phrase], ...]:
        """Term and meaning: the entries of words/glossary.toml whose words the page uses, in its order."""
        texts: list[str] = [self.headline, self.action, self.question, self.scope, *self.cost, *self.risks, *self.next_stage]
        texts += [text for card in self.verdicts for text in (card.name, card.badge, card.said, *card.more)]
        texts += [] if self.forest is None else [self.forest.title, self.forest.caption]
        everything = "\n".join(texts)
        found = [entry for pattern, entry in words("glossary").items() if re.search(pattern, everything, re.IGNORECASE)]
        return tuple((phrase_of(term, {}), phrase_of(meaning, {})) for term, meaning in found)

    def as_json(self) -> dict[str, Any]:
        """The words, in English, and the numbers of the picture."""
        forest = None if self.forest is None else [row.as_json() for row in self.forest.rows]
        shown = {name: part for name, part in vars(self).items() if name != "every_risk"}
        return shown | {"verdicts": [vars(card) for card in self.verdicts], "forest": forest, "risks": self.every_risk}


def decision_page(
    records: Records, *, verdicts: Sequence[Judged], choice: EndpointChoice, controls: Table, settings: ReportSettings
) -> DecisionPage:
    """Everything on the first page. The endpoint is the same for all verdicts, so it is named once above them."""
    costs = costs_of(records, endpoint=choice.endpoint, settings=settings)
    largest_first, plans = sorted(verdicts, key=_largest_first), plans_of(verdicts)
    risks = tuple(risks_of(records, verdicts=verdicts, choice=choice, controls=controls))
    return DecisionPage(
        headline=headline_of(largest_first, badges=BADGES),
        action=action_of(largest_first, plans=plans, costs=costs, badges=BADGES),
        question=paragraph(*(verdicts[0].notes if verdicts else (choice.note,))),
        scope=_scope(records, verdicts=verdicts),
        verdicts=tuple(map(_card, verdicts)),
        forest=forest_of(verdicts, records=records),
        cost=tuple(cost_sentences(records, verdicts=verdicts, costs=costs)),
        risks=tuple(few(risks)),
        every_risk=risks,
        next_stage=tuple(next_stages(largest_first, plans=plans, costs=costs)),
    )


def _largest_first(verdict: Judged) -> tuple[bool, float]:
    """What is not judged comes last."""
    is_not_judged = verdict.outcome is Outcome.NOT_JUDGED
    return is_not_judged, math.inf if verdict.difference is None else -verdict.difference.estimate


def by_effect(verdicts: Sequence[Judged]) -> tuple[Judged, ...]:
    """The largest effect first, what is not judged last; a few arms stay in their own order."""
    return tuple(verdicts) if len(verdicts) <= MOST_NAMED else tuple(sorted(verdicts, key=_largest_first))


def _scope(records: Records, *, verdicts: Sequence[Judged]) -> Phrase:
    """A paragraph to read with the headline; empty where nothing was trained."""
    if not records.trained:
        return paragraph()
    models, data = (_names(records, group=group) for group in ("model", "dataset"))
    compared = [verdict.arm for verdict in verdicts if verdict.difference is not None]
    not_compared = say_named("scope.not_compared", arm=compared[0]) if len(compared) > 1 else ""  # gains invite a ranking
    return paragraph(
        say("Model: {model}; data: {data}.", model=listed(models), data=listed(data)) if models and data else "",
        say(
            "These results hold for new seeds and for questions like these, not for other models, other data or longer training."
        ),
        say_named("scope.pairs") if records.has_many_arms else not_compared,
    )


def _names(records: Records, *, group: str) -> list[str]:
    """What the runs' configs call it, each once."""
    configs = (run.run.config.get(group, {}) for arm in records.trained for run in arm.used)
    return list(dict.fromkeys(str(config["name"]) for config in configs if config.get("name")))


def _card(verdict: Judged) -> Card:
    return Card(
        arm=verdict.arm,
        name=name_of(verdict.comparison.arm),
        outcome=verdict.outcome.name.lower(),
        effect=None if verdict.difference is None else finite(verdict.difference.estimate),
        said=sentence_of(verdict, "headline"),
        more=sentences(verdict),
    )
