"""What the seeds say of behaviour: reflection against length, length held fixed, whose length it is, and where learning stopped."""

import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from vlm_rl.evaluation.dynamics import (
    NUM_QUINTILES,
    Fifths,
    LengthBins,
    bottleneck,
    correlation_within_seeds,
    first_and_last_fifth,
    no_length_bins,
    seed_share_of_variance,
)
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.curves import by_step, occurs, training_accuracy, word_keys, word_of
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import names, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.tables.evaluation_behaviour import TOO_FEW, mean_if_enough
from vlm_rl.reports.tables.table import Row, Table, table_of

LENGTH = "response_length/mean"
PAIRS = (
    (say("reflection and response length"), "reflection/reflection_ratio", LENGTH),
    (say("reflection and accuracy"), "reflection/reflection_ratio", "train/accuracy"),
    (say("response length and accuracy"), LENGTH, "train/accuracy"),
)
QUINTILES = (say("shortest fifth"), say("second fifth"), say("third fifth"), say("fourth fifth"), say("longest fifth"))


def correlation_table(records: Records) -> Table:
    """Spearman within each seed over generation steps, Fisher's z averaged, t over seeds."""
    return table_of("behaviour_correlations", (row for arm in records.trained for row in _correlation_rows(arm)))


def _correlation_rows(arm: Arm) -> Iterator[Row]:
    for name, first, second in PAIRS:
        pairs = [(by_step(run, key=first), by_step(run, key=second)) for run in arm.used]
        found = correlation_within_seeds(pairs)
        if found.interval.num_seeds:
            by_seed = ", ".join("–" if math.isnan(rho) else f"{rho:+.2f}" for rho in found.by_seed)
            yield {"arm": arm.label, "pair": name, "seeds": found.interval.num_seeds, "rho": found.interval, "by_seed": by_seed}


def length_held_fixed_table(records: Records) -> Table:
    """Reflection and what it goes with among responses of like length: quintiles of length within each step, counts pooled."""
    return table_of("length_held_fixed", (row for arm in records.trained for row in _quintile_rows(arm)), too_few=TOO_FEW)


def _quintile_rows(arm: Arm) -> Iterator[Row]:
    bins = [run.length_bins for run in arm.used if run.length_bins is not None]
    if not bins:
        return
    pooled = functools.reduce(operator.add, bins, no_length_bins())
    ratios, reflective, plain = (np.stack([of(found) for found in bins]) for of in _RATIOS)
    for quintile in range(NUM_QUINTILES):
        num_reflective = [int(found.num_reflective[quintile]) for found in bins]
        num_plain = [int(found.num_responses[quintile]) - count for found, count in zip(bins, num_reflective, strict=True)]
        yield {
            "arm": arm.label,
            "seeds": len(bins),
            "quintile": QUINTILES[quintile],
            "responses": int(pooled.num_responses[quintile]),
            "reflective": int(pooled.num_reflective[quintile]),
            "reflection_ratio": mean_interval(ratios[:, quintile]),
            "correct_if_reflective": mean_if_enough(reflective[:, quintile], counts=num_reflective),
            "correct_if_plain": mean_if_enough(plain[:, quintile], counts=num_plain),
            "difference": mean_if_enough((reflective - plain)[:, quintile], counts=list(map(min, num_reflective, num_plain))),
        }


_RATIOS = (
    LengthBins.reflection_ratio,
    LengthBins.correct_ratio_in_reflection_texts,
    LengthBins.correct_ratio_in_no_reflection_texts,
)


def seed_sensitivity_table(records: Records) -> Table:
    """Which share of the variance of response length lies between seeds, epoch by epoch."""
    return table_of(
        "seed_sensitivity_of_length", (row for arm in records.trained if len(arm.used) > 1 for row in _sensitivity_rows(arm))
    )


def _sensitivity_rows(arm: Arm) -> Iterator[Row]:
    by_epoch = [_lengths_by_epoch(run) for run in arm.used]
    for epoch in sorted(set.intersection(*(set(lengths) for lengths in by_epoch))):
        num_steps = min(lengths[epoch].size for lengths in by_epoch)
        values = np.stack([lengths[epoch][:num_steps] for lengths in by_epoch])
        if np.isnan(values).any():
            continue
        means = values.mean(axis=1)
        yield {
            "arm": arm.label,
            "epoch": epoch,
            "seeds": len(means),
            "steps": num_steps,
            "length": mean_interval(means),
            "spread": float(means.std(ddof=1)),
            "share": seed_share_of_variance(values),
        }


def _lengths_by_epoch(run: RunRecords) -> dict[int, FloatArray]:
    epochs, lengths = by_step(run, key="epoch"), by_step(run, key=LENGTH)
    known = ~np.isnan(epochs + lengths)
    of_step = np.ceil(epochs[known] - 1e-6).astype(int)
    return {int(epoch): lengths[known][of_step == epoch] for epoch in np.unique(of_step)}


def bottleneck_table(records: Records, *, gain: float = 0.01) -> Table:
    """The first epoch after which the seed-mean training accuracy never gains another `gain`."""
    return table_of("bottleneck", (row for arm in records.trained for row in _bottleneck_row(arm, gain=gain)), gain=100 * gain)


def _bottleneck_row(arm: Arm, *, gain: float) -> Iterator[Row]:
    by_seed = [training_accuracy(run) for run in arm.used]
    epochs = sorted(set.intersection(*(set(accuracy) for accuracy in by_seed))) if by_seed else []
    if not epochs:
        return
    mean = np.array([np.mean([accuracy[epoch] for accuracy in by_seed]) for epoch in epochs])
    place = bottleneck(mean, gain=gain)
    yield {
        "arm": arm.label,
        "seeds": len(by_seed),
        "epochs": len(epochs),
        "bottleneck": int(epochs[place]) if place is not None else None,
        "accuracy": float(mean[place]) if place is not None else None,
        "best_later": float(mean[place + 1 :].max()) if place is not None else None,
        "last": float(mean[-1]),
    }


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
