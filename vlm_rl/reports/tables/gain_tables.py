"""What each arm gained over its own vanilla model: by how much, how surely, by format or by reasoning, and rliable's aggregates.

All of it is secondary: no verdict is made of it, and nothing here is called an improvement.
"""

import functools
import math
import operator
from collections.abc import Iterator
from functools import partial

import numpy as np
from jaxtyping import Float

from vlm_rl.evaluation.bootstrap import (
    bootstrap_kind_matrices,
    interquartile_mean,
    kind_matrix,
    percentile_interval,
    probability_of_improvement,
    resample,
    resample_images,
)
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.response_length import gain_parts
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Difference, Interval, mean_interval, paired_difference
from vlm_rl.reports.memory import recall
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.results import BySeed, Pairs, Results, over_seeds, results_of
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import values_of

MIN_CELLS = 12  # below that the interquartile mean cuts two cells or fewer from an end and is hardly a middle
STREAM = 8  # key of the generator: a report made twice is the same

Matrix = Float[np.ndarray, "runs kinds"]
Draws = Float[np.ndarray, "draws runs kinds"]


def gain_over_seeds(pairs: Pairs) -> Interval:
    """The gain paired by seed, with its 95 % t-interval over seeds: new seeds, these questions."""
    return mean_interval([after.accuracy() - before.accuracy() for before, after in pairs])


def gain_difference(pairs: Pairs) -> Difference | None:
    """The gain with both sources of chance; None where the seeds were not all asked the same questions."""
    if len({evaluation.questions.asked for pair in pairs for evaluation in pair}) > 1:
        return None
    before, after = (np.stack([evaluation.scores() for evaluation in side]) for side in zip(*pairs, strict=True))
    return paired_difference(after, before=before, images=pairs[0][1].questions.images())


def gain_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Each seed at the epoch that validation picked minus its vanilla model, with both intervals of statistics.md (item 4)."""
    found = results_of(records, endpoint=endpoint, arms=records.trained)
    rows = [_gain_row(results, pairs=pairs) for results in found if (pairs := results.gained(results.selected))]
    without = () if any(row["seeds"] == 1 for row in rows) else ("this_run_only",)
    return table_of("gain", rows, without=without, picked_by=endpoint.picked_by)


def _gain_row(results: Results, *, pairs: Pairs) -> Row:
    difference = gain_difference(pairs)
    return {
        "arm": results.arm.label,
        "split": results.split,
        "setting": results.setting,
        "seeds": len(pairs),
        "epochs": ", ".join(str(after.epoch) for _, after in pairs),
        "gain": gain_over_seeds(pairs),
        "new_questions": difference.new_questions() if difference and len(pairs) > 1 else None,
        "this_run_only": difference.this_run_only() if difference and len(pairs) == 1 else None,
        "variance_seeds": difference.variance_seeds if difference else math.nan,
        "variance_questions": difference.variance_questions if difference else math.nan,
    }


def gain_split_table(records: Records, *, endpoint: Endpoint) -> Table:
    """How much of the gain at the selected epochs is format and how much is reasoning: split for each seed, averaged over seeds."""
    found = results_of(records, endpoint=endpoint, setting=endpoint.setting, arms=records.trained)
    rows = (_split_row(results, pairs=pairs) for results in found if (pairs := results.gained(results.selected)))
    return table_of("gain_split", rows, setting=title_of(endpoint.setting))


def _split_row(results: Results, *, pairs: Pairs) -> Row:
    counts = [(before.format_counts(), after.format_counts()) for before, after in pairs]
    before, after = (functools.reduce(operator.add, side) for side in zip(*counts, strict=True))
    return {
        "arm": results.arm.label,
        "split": results.split,
        "seeds": len(pairs),
        **over_seeds([vars(gain_parts(trained, before=vanilla)) for vanilla, trained in counts]),
        "well_formed_vanilla": before.well_formed,
        "well_formed_picked": after.well_formed,
        "accuracy_if_well_formed_vanilla": before.accuracy_if_well_formed,
        "accuracy_if_well_formed_picked": after.accuracy_if_well_formed,
        "responses": after.num_responses,
    }


def aggregate_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Interquartile means over runs x kinds, and how probably a trained run beats a vanilla one on a kind of problem."""
    arms = (Results(arm=arm, split=endpoint.split, setting=endpoint.setting, endpoint=endpoint) for arm in records.trained)
    rows = (row for results in arms for row in _aggregate_row(results))
    return table_of("aggregates", rows, cells=MIN_CELLS, **values_of(endpoint))


def _aggregate_row(results: Results) -> Iterator[Row]:
    after, before = results.selected, results.vanilla
    if after:
        kinds = next(iter(after.values())).questions.values("kind")
        cells = len(after) * len(set(kinds))
        reason = _why_not(after, before=before, cells=cells)
        row: Row = {"arm": results.arm.label, "seeds": len(after), "cells": cells, "left_out": reason}
        counts = [[(one.num_correct, one.num_samples, one.setting) for one in side.values()] for side in (after, before)]
        images = next(iter(after.values())).questions.images()
        made = partial(_aggregates, after, before=before, kinds=kinds)
        yield row if reason else {**row, **recall("aggregates", counts, kinds, images, make=made)}


def _why_not(after: BySeed, *, before: BySeed, cells: int) -> Phrase | None:
    if len({evaluation.questions.asked for evaluation in (*after.values(), *before.values())}) > 1:
        return say("the seeds answered different questions")
    if len(after) < 2:
        return say("a single seed")
    return say("fewer than {cells} cells", cells=MIN_CELLS) if cells < MIN_CELLS else None


def _aggregates(after: BySeed, *, before: BySeed, kinds: list[str]) -> Row:
    generator = np.random.Generator(np.random.Philox(key=STREAM))
    images = next(iter(after.values())).questions.images()
    questions = resample_images(images, generator=generator)  # the same for both sides: they answered the same questions

    def resampled(side: BySeed) -> tuple[Matrix, Draws]:
        scores = np.stack([evaluation.scores() for evaluation in side.values()])
        seeds = resample(len(scores), generator=generator, num_draws=len(questions))
        return kind_matrix(scores, kinds=kinds), bootstrap_kind_matrices(scores, kinds=kinds, seeds=seeds, questions=questions)

    trained, draws = resampled(after)
    found: Row = {"iqm": _iqm(trained, draws=draws)}
    if len(before) < 2:
        return found
    vanilla, vanilla_draws = resampled(before)
    improvement = percentile_interval(
        probability_of_improvement(draws, reference=vanilla_draws),
        estimate=float(probability_of_improvement(trained, reference=vanilla)),
        num_seeds=min(len(trained), len(vanilla)),
    )
    return {**found, "iqm_vanilla": _iqm(vanilla, draws=vanilla_draws), "improvement": improvement}


def _iqm(matrix: Matrix, *, draws: Draws) -> Interval:
    return percentile_interval(interquartile_mean(draws), estimate=float(interquartile_mean(matrix)), num_seeds=len(matrix))
