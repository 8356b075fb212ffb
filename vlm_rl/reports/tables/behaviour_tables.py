"""What the seeds say of behaviour: reflection against length, length held fixed, whose length it is, and where learning stopped."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vlm_rl.evaluation.dynamics import (
    LengthBins,
    bottleneck,
    correlation_within_seeds,
    first_and_last_fifth,
    seed_share_of_variance,
)
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.curves import by_step, occurs, training_accuracy, word_keys, word_of
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import listed, names, say, say_named, words
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.results import over_seeds
from vlm_rl.reports.tables.evaluation_behaviour import TOO_FEW, mean_if_enough
from vlm_rl.reports.tables.table import MISSING, Row, Table, table_of

LENGTH, REFLECTION_RATIO = "response_length/mean", "reflection/reflection_ratio"
STAGES = names("fifths")
HOW_TO_READ = say_named("how_to_read_fifths")
PAIRS = (
    (say("reflection and response length"), REFLECTION_RATIO, LENGTH),
    (say("reflection and accuracy"), REFLECTION_RATIO, "train/accuracy"),
    (say("response length and accuracy"), LENGTH, "train/accuracy"),
)
RATIOS = (
    LengthBins.reflection_ratio,
    LengthBins.correct_ratio_in_reflection_texts,
    LengthBins.correct_ratio_in_no_reflection_texts,
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
            by_seed = listed(MISSING if math.isnan(rho) else say("{rho:+.2f}", rho=rho) for rho in found.by_seed)
            yield {"arm": arm.label, "pair": name, "seeds": found.interval.num_seeds, "rho": found.interval, "by_seed": by_seed}


def length_held_fixed_table(records: Records) -> Table:
    """Reflection and what it goes with among responses of like length: quintiles of length within each step, counts pooled."""
    return table_of("length_held_fixed", (row for arm in records.trained for row in _quintile_rows(arm)), too_few=TOO_FEW)


def _quintile_rows(arm: Arm) -> Iterator[Row]:
    bins = [run.training.length_bins for run in arm.used if run.training.length_bins is not None]
    if not bins:
        return
    responses, reflective = (np.stack([vars(of_run)[name] for of_run in bins]) for name in ("num_responses", "num_reflective"))
    plain = responses - reflective
    ratios, if_reflective, if_plain = (np.stack([of(of_run) for of_run in bins]) for of in RATIOS)
    for place, quintile in enumerate(QUINTILES):
        yield {
            "arm": arm.label,
            "seeds": len(bins),
            "quintile": quintile,
            "responses": int(responses[:, place].sum()),
            "reflective": int(reflective[:, place].sum()),
            "reflection_ratio": mean_interval(ratios[:, place]),
            "correct_if_reflective": mean_if_enough(if_reflective[:, place], counts=reflective[:, place]),
            "correct_if_plain": mean_if_enough(if_plain[:, place], counts=plain[:, place]),
            "difference": mean_if_enough((if_reflective - if_plain)[:, place], counts=np.minimum(reflective, plain)[:, place]),
        }


def seed_sensitivity_table(records: Records) -> Table:
    """Which share of the variance of response length lies between seeds, epoch by epoch."""
    arms = [arm for arm in records.trained if len(arm.used) > 1]
    return table_of("seed_sensitivity_of_length", (row for arm in arms for row in _sensitivity_rows(arm)))


def _sensitivity_rows(arm: Arm) -> Iterator[Row]:
    by_epoch = [_lengths_by_epoch(run) for run in arm.used]
    for epoch in sorted(set.intersection(*map(set, by_epoch))):
        num_steps = min(lengths[epoch].size for lengths in by_epoch)
        values = np.stack([lengths[epoch][:num_steps] for lengths in by_epoch])
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


def bottleneck_table(records: Records, *, gain: float) -> Table:
    """The first epoch after which the seed-mean training accuracy never gains another `gain`, a share."""
    rows = (_bottleneck_row(arm, gain=gain) for arm in records.trained)
    return table_of("bottleneck", (row for row in rows if row["epochs"]), gain=100 * gain)


def _bottleneck_row(arm: Arm, *, gain: float) -> Row:
    by_seed = [training_accuracy(run) for run in arm.used]
    epochs = sorted(set.intersection(*map(set, by_seed)))
    mean = np.array([np.mean([accuracy[epoch] for accuracy in by_seed]) for epoch in epochs])
    place = bottleneck(mean, gain=gain) if epochs else None
    return {
        "arm": arm.label,
        "seeds": len(by_seed),
        "epochs": len(epochs),
        "bottleneck": None if place is None else int(epochs[place]),
        "accuracy": None if place is None else float(mean[place]),
        "best_later": None if place is None else float(mean[place + 1 :].max()),
        "last": float(mean[-1]) if epochs else None,
    }


def start_and_end_table(records: Records, *, name: str) -> Table:
    """Where training began and where it ended, means over seeds: `response_length`, the five ratios of `reflection`, or `policy`.

    words/tables.toml names the quantity of each column and, so that steps can be pooled, the share of a step's responses that it
    speaks of: a key, or "-" and a key for the others.
    """
    columns = {key: source for key, _, _, *source in words("tables")[name]["columns"] if source}
    arms = [arm for arm in records.trained if _logs(arm, keys=[key for key, *_ in columns.values()])]
    rows = (row for arm in arms for row in _stages(arm, columns=columns))
    return table_of(name, rows, how_to_read=HOW_TO_READ, names=", ".join(columns))


def _stages(arm: Arm, *, columns: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    means = {column: mean_fifths(arm, *source) for column, source in columns.items()}
    for stage, when in STAGES.items():
        of_stage = {column: found[stage] for column, found in means.items()}
        yield {"arm": arm.label, "seeds": len(arm.used), "when": when, **of_stage}


def word_table(records: Records) -> Table:
    """Every reflection word that occurs in any run, in the order of the word list."""
    keys = [key for key in word_keys(records) if occurs(records, key=key)]
    arms = [arm for arm in records.trained if _logs(arm, keys=keys)]
    rows = (_word_row(arm, key=key) for arm in arms for key in keys)
    return table_of("reflection_words", rows, how_to_read=HOW_TO_READ)


def _word_row(arm: Arm, *, key: str) -> Row:
    return {"arm": arm.label, "seeds": len(arm.used), "word": word_of(key), **mean_fifths(arm, key)}


def mean_fifths(arm: Arm, key: str, share: str = "") -> dict[str, Interval]:
    """The first fifth, the last and the change of a quantity, each averaged over seeds."""
    found = []
    for run in arm.used:
        shares = by_step(run, key=share.removeprefix("-"))
        weights = np.nan_to_num(1 - shares if share.startswith("-") else shares) if share else None
        found.append(first_and_last_fifth(by_step(run, key=key), weights=weights))
    return over_seeds([{stage: getattr(fifths, stage) for stage in STAGES} for fifths in found])


def _logs(arm: Arm, *, keys: Sequence[str]) -> bool:
    """Whether any run of the arm has any of the quantities at any step."""
    return any(not np.isnan(by_step(run, key=key)).all() for run in arm.used for key in keys)
