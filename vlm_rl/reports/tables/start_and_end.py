"""Where training began and where it ended: lengths, the five ratios, every word, entropy, KL, clipping, language. Means over seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from vlm_rl.evaluation.dynamics import Fifths, first_and_last_fifth
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.curves import by_step, occurs, word_keys, word_of
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import names, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Row, Table, table_of

Weight = Callable[[RunRecords], FloatArray]
STAGES = names("fifths")
HOW_TO_READ = say_named("how_to_read_fifths")


def share_of(key: str) -> Weight:
    """Steps count as much as a share that they log, NaN for 0."""
    return lambda run: np.nan_to_num(by_step(run, key=key))


def rest_of(key: str) -> Weight:
    """Steps count as much as what a share that they log leaves."""
    return lambda run: np.nan_to_num(1 - by_step(run, key=key))


# Column -> the quantity of the training records, and what a step counts when it is averaged: its responses of the kind in
# question, None for all of them.
Quantities = Mapping[str, tuple[str, Weight | None]]
LENGTHS: Quantities = {
    "all": ("response_length/mean", None),
    "terminated": ("response_length/mean_terminated", rest_of("response_length/truncated")),
    "truncated": ("response_length/mean_truncated", share_of("response_length/truncated")),
    "cut_off": ("response_length/truncated", None),
}
REFLECTION: Quantities = {
    ratio: (f"reflection/{ratio}", weight)
    for ratio, weight in {
        "reflection_ratio": None,
        "reflection_ratio_in_correct_answers": share_of("train/accuracy"),
        "reflection_ratio_in_incorrect_answers": rest_of("train/accuracy"),
        "correct_ratio_in_reflection_texts": share_of("reflection/reflection_ratio"),
        "correct_ratio_in_no_reflection_texts": rest_of("reflection/reflection_ratio"),
    }.items()
}
POLICY: Quantities = {
    "entropy": ("policy/entropy", None),
    "kl": ("policy/kl", None),
    "clip_fraction": ("policy/clip_fraction", None),
    "foreign_share": ("language/foreign_share", None),
}


def length_table(records: Records) -> Table:
    """Response length of all responses, of those that ended by themselves and of those cut off."""
    return _table(records, name="response_length", quantities=LENGTHS)


def reflection_table(records: Records) -> Table:
    """The five ratios of the paper."""
    return _table(records, name="reflection", quantities=REFLECTION)


def policy_table(records: Records) -> Table:
    """Entropy, KL, clipped tokens and language drift."""
    return _table(records, name="policy", quantities=POLICY)


def word_table(records: Records) -> Table:
    """Every reflection word that occurs in any run, in the order of the word list."""
    keys = [key for key in word_keys(records) if occurs(records, key=key)]
    rows = [_word_row(arm, key=key) for arm in records.trained if _logs(arm, keys=keys) for key in keys]
    return table_of("reflection_words", rows, how_to_read=HOW_TO_READ)


def _table(records: Records, *, name: str, quantities: Quantities) -> Table:
    arms = [arm for arm in records.trained if _logs(arm, keys=[key for key, _ in quantities.values()])]
    rows = (row for arm in arms for row in _rows(arm, quantities=quantities))
    return table_of(name, rows, how_to_read=HOW_TO_READ, names=", ".join(quantities))


def _rows(arm: Arm, *, quantities: Quantities) -> Iterator[Row]:
    fifths = {
        name: [first_and_last_fifth(by_step(run, key=key), weights=weight and weight(run)) for run in arm.used]
        for name, (key, weight) in quantities.items()
    }
    for stage, when in STAGES.items():
        means = {name: _mean(found, stage) for name, found in fifths.items()}
        yield {"arm": arm.label, "seeds": len(arm.used), "when": when, **means}


def _mean(fifths: Sequence[Fifths], stage: str) -> Interval:
    return mean_interval([getattr(found, stage) for found in fifths])


def _word_row(arm: Arm, *, key: str) -> Row:
    fifths = [first_and_last_fifth(by_step(run, key=key)) for run in arm.used]
    means = {stage: _mean(fifths, stage) for stage in STAGES}
    return {"arm": arm.label, "seeds": len(arm.used), "word": word_of(key), **means}


def _logs(arm: Arm, *, keys: Sequence[str]) -> bool:
    """Whether any run of the arm has any of the quantities at any step."""
    return any(not np.isnan(by_step(run, key=key)).all() for run in arm.used for key in keys)
