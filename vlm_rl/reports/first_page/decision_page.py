"""The one page for people who decide: verdicts, a picture of the effects, cost, risks, and what the next stage would need.

It only arranges: verdicts are made in verdicts.py, risks in risks.py, the next stage in next_stage.py.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.forest import Forest
from vlm_rl.reports.phrase import Phrase, listed, paragraph, phrase_of, say, say_named, words
from vlm_rl.reports.tables.table import finite

Entry = tuple[Phrase, Phrase]  # term, meaning
TONES = {
    Outcome.IMPROVEMENT: "good",
    Outcome.HARM: "bad",
    Outcome.NO_DIFFERENCE: "none",
    Outcome.OPEN: "open",
    Outcome.NOT_JUDGED: "none",
}
BADGES = {outcome: say_named(f"verdict.{outcome.name.lower()}.badge") for outcome in Outcome}
MOST_NAMED = 3  # arms in the headline, of one verdict where there are more arms; more are counted


@dataclass(frozen=True, kw_only=True)
class Card:
    """The verdict on one arm."""

    arm: str
    outcome: Outcome
    effect: float  # share; NaN where there is none
    short: Phrase  # the verdict in the headline
    said: str  # in large type
    more: tuple[str, ...]  # what it rests on, a sentence each

    def as_json(self) -> dict[str, Any]:
        """In English."""
        effect = finite(self.effect)
        return {"arm": self.arm, "outcome": self.outcome.name.lower(), "effect": effect, "said": self.said, "more": self.more}

    @property
    def badge(self) -> Phrase:
        """The verdict in two words."""
        return BADGES[self.outcome]

    @property
    def tone(self) -> str:
        """Its colour on the page."""
        return TONES[self.outcome]


@dataclass(frozen=True, kw_only=True)
class DecisionPage:
    """Every word of it, ready to be shown."""

    headline: Phrase
    question: Phrase
    scope: Phrase  # which model and data the answer speaks of
    cards: tuple[Card, ...]
    forest: Forest | None
    cost: tuple[Phrase, ...]
    risks: tuple[Phrase, ...]
    next_stage: tuple[Phrase, ...]

    @property
    def has_many_cards(self) -> bool:
        """Whether the picture comes first and each card shows only its verdict until it is opened."""
        return len(self.cards) > MOST_NAMED

    @property
    def glossary(self) -> tuple[Entry, ...]:
        """A line for each technical word that the page uses."""
        said = [text for card in self.cards for text in (card.arm, card.badge, card.said, *card.more)]
        pictured = [] if self.forest is None else [self.forest.title, self.forest.caption]
        return glossary_of(
            [self.headline, self.question, self.scope, *said, *pictured, *self.cost, *self.risks, *self.next_stage]
        )

    def as_json(self) -> dict[str, Any]:
        """The words, in English, and the numbers of the picture."""
        return {
            "headline": self.headline,
            "question": self.question,
            "scope": self.scope,
            "verdicts": [card.as_json() for card in self.cards],
            "forest": None if self.forest is None else [row.as_json() for row in self.forest.rows],
            "cost": self.cost,
            "risks": self.risks,
            "next_stage": self.next_stage,
        }


def headline_of(cards: Sequence[Card]) -> Phrase:
    """The verdicts in one breath."""
    if not cards:
        return say("No verdict: no trained run was evaluated beside its untrained model.")
    if len(cards) <= MOST_NAMED:
        return paragraph(*(card.short for card in cards))
    by_outcome = {outcome: [card.arm for card in cards if card.outcome is outcome] for outcome in BADGES}
    return paragraph(*(_in_short(outcome, arms=arms, of=len(cards)) for outcome, arms in by_outcome.items() if arms))


def _in_short(outcome: Outcome, *, arms: Sequence[str], of: int) -> Phrase:
    """The arms of one verdict: a few by name, many by number."""
    if len(arms) <= MOST_NAMED:
        return say("{outcome}: {arms}.", outcome=BADGES[outcome], arms=listed(arms))
    return say("{outcome}: {count} of {all} arms.", outcome=BADGES[outcome], count=len(arms), all=of)


def glossary_of(texts: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of words/glossary.toml whose words occur, in its order."""
    everything = "\n".join(texts)
    found = [entry for looked_for, entry in words("glossary").items() if re.search(looked_for, everything, re.IGNORECASE)]
    return tuple((phrase_of(term, {}), phrase_of(meaning, {})) for term, meaning in found)
