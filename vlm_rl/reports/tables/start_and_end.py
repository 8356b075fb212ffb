"""Where training began and where it ended: lengths, the five ratios, every word, entropy, KL, clipping, language. Means over seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_rl.evaluation.dynamics import Fifths, first_and_last_fifth
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.figures.curves import RATIO_LABELS, by_step, occurs, word_keys, word_of
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import paragraph, say
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Column, Row, Table, number, text

Weight = Callable[[RunRecords], FloatArray]
HOW_TO_READ = say(
    "Means over the first and the last fifth of the generation steps of each run, then over seeds, in brackets the two-sided 95 % "
    "t-interval over seeds. Responses of several steps are pooled. The change is taken within each seed."
)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity of the training records, and what a step counts when it is averaged: its responses of the kind in question."""

    key: str
    column: Column
    weight: Weight | None = None  # share of the responses of a step that the quantity speaks of; None: all of them

    def fifths(self, run: RunRecords) -> Fifths:
        """Of one run."""
        return first_and_last_fifth(by_step(run, key=self.key), weights=self.weight and self.weight(run))


def share_of(key: str) -> Weight:
    """Steps count as much as a share that they log, NaN for 0."""
    return lambda run: np.nan_to_num(by_step(run, key=key))


def rest_of(key: str) -> Weight:
    """Steps count as much as what a share that they log leaves."""
    return lambda run: np.nan_to_num(1 - by_step(run, key=key))


def share_or_change(key: str, *, title: str, pattern: str = "{:.1f}") -> Column:
    """Shares in percent, and under them how they changed: no end of an interval is cut at 0."""
    return number(key, title=title, pattern=pattern, scale=100.0)


def length_table(records: Records) -> Table:
    """Response length of all responses, of those that ended by themselves and of those cut off."""
    cut_off, tokens = "response_length/truncated", "{:,.1f}"
    return _table(
        records,
        name="response_length",
        title=say("Response length while training"),
        note=say("Tokens, EOS included."),
        quantities=[
            Quantity(key="response_length/mean", column=number("all", title=say("All"), pattern=tokens)),
            Quantity(
                key="response_length/mean_terminated",
                column=number("terminated", title=say("Ended by themselves"), pattern=tokens),
                weight=rest_of(cut_off),
            ),
            Quantity(
                key="response_length/mean_truncated",
                column=number("truncated", title=say("Cut off"), pattern=tokens),
                weight=share_of(cut_off),
            ),
            Quantity(key=cut_off, column=share_or_change("cut_off", title=say("Share cut off (%)"))),
        ],
    )


def reflection_table(records: Records) -> Table:
    """The five ratios of the paper."""
    weights: dict[str, Weight] = {
        "reflection_ratio_in_correct_answers": share_of("train/accuracy"),
        "reflection_ratio_in_incorrect_answers": rest_of("train/accuracy"),
        "correct_ratio_in_reflection_texts": share_of("reflection/reflection_ratio"),
        "correct_ratio_in_no_reflection_texts": rest_of("reflection/reflection_ratio"),
    }
    return _table(
        records,
        name="reflection",
        title=say("Reflection while training"),
        note=say("In the order of the paper's Table 2: {names}.", names=", ".join(RATIO_LABELS)),
        quantities=[
            Quantity(key=f"reflection/{ratio}", column=share_or_change(ratio, title=label), weight=weights.get(ratio))
            for ratio, label in RATIO_LABELS.items()
        ],
    )


def policy_table(records: Records) -> Table:
    """Entropy, KL, clipped tokens and language drift."""
    nats = "{:.3f}"
    return _table(
        records,
        name="policy",
        title=say("How far the policy moved"),
        note=say("Entropy and KL in nats for each token; language: letters outside the Latin and Greek scripts."),
        quantities=[
            Quantity(key="policy/entropy", column=number("entropy", title=say("Entropy"), pattern=nats)),
            Quantity(key="policy/kl", column=number("kl", title=say("KL to the untrained model"), pattern=nats)),
            Quantity(
                key="policy/clip_fraction",
                column=share_or_change("clip_fraction", title=say("Tokens clipped (%)"), pattern="{:.3f}"),  # one in 1000
            ),
            Quantity(
                key="language/foreign_share",
                column=share_or_change("foreign_share", title=say("Letters of other scripts (%)")),
            ),
        ],
    )


def word_table(records: Records) -> Table:
    """Every reflection word that occurs in any run, in the order of the word list."""
    keys = [key for key in word_keys(records) if occurs(records, key=key)]
    rows = [_word_row(arm, key=key) for arm in records.trained if _logs(arm, keys=keys) for key in keys]
    return Table(
        name="reflection_words",
        title=say("Reflection words while training"),
        note=paragraph(say("Occurrences in the responses of one generation step."), HOW_TO_READ),
        columns=(
            text("arm", title=say("Arm")),
            number("seeds", title=say("Seeds")),
            text("word", title=say("Word")),
            number("first", title=say("First fifth"), pattern="{:,.1f}"),
            number("last", title=say("Last fifth"), pattern="{:,.1f}"),
            number("change", title=say("Change"), pattern="{:+,.1f}"),
        ),
        rows=tuple(rows),
    )


def _table(records: Records, *, name: str, title: str, note: str, quantities: Sequence[Quantity]) -> Table:
    arms = [arm for arm in records.trained if _logs(arm, keys=[quantity.key for quantity in quantities])]
    return Table(
        name=name,
        title=title,
        note=paragraph(note, HOW_TO_READ),
        columns=(
            text("arm", title=say("Arm")),
            number("seeds", title=say("Seeds")),
            text("when", title=say("Part of training")),
            *(quantity.column for quantity in quantities),
        ),
        rows=tuple(row for arm in arms for row in _rows(arm, quantities=quantities)),
    )


def _rows(arm: Arm, *, quantities: Sequence[Quantity]) -> Iterator[Row]:
    fifths = {quantity.column.key: [quantity.fifths(run) for run in arm.used] for quantity in quantities}
    stages: tuple[tuple[str, Callable[[Fifths], float]], ...] = (
        (say("first fifth"), lambda found: found.first),
        (say("last fifth"), lambda found: found.last),
        (say("change"), lambda found: found.change),
    )
    for when, of in stages:
        means = {key: mean_interval(list(map(of, found))) for key, found in fifths.items()}
        yield {"arm": arm.label, "seeds": len(arm.used), "when": when, **means}


def _word_row(arm: Arm, *, key: str) -> Row:
    fifths = [first_and_last_fifth(by_step(run, key=key)) for run in arm.used]
    return {
        "arm": arm.label,
        "seeds": len(arm.used),
        "word": word_of(key),
        "first": mean_interval([found.first for found in fifths]),
        "last": mean_interval([found.last for found in fifths]),
        "change": mean_interval([found.change for found in fifths]),
    }


def _logs(arm: Arm, *, keys: Sequence[str]) -> bool:
    """Whether any run of the arm has any of the quantities at any step."""
    return any(not np.isnan(by_step(run, key=key)).all() for run in arm.used for key in keys)
