"""What the seeds say of behaviour: reflection against length, length held fixed, whose length it is, and where learning stopped."""

import functools
import math
import operator
from collections.abc import Iterator

import numpy as np

from vlm_rl.evaluation.dynamics import (
    NUM_QUINTILES,
    LengthBins,
    bottleneck,
    correlation_within_seeds,
    no_length_bins,
    seed_share_of_variance,
)
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.figures.curves import by_step, training_accuracy
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import say
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
