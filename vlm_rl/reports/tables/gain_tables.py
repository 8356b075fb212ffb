"""What each arm gained over its own untrained model: by how much, how surely, and by format or by reasoning.

All of it is secondary: no verdict is made of it, and nothing here is called an improvement.
"""

import functools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from vlm_rl.evaluation.bootstrap import (
    QuestionCounts,
    bootstrap_kind_matrices,
    interquartile_mean,
    kind_matrix,
    percentile_interval,
    probability_of_improvement,
    resample,
    resample_images,
)
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.response_length import GainSplit, split_gain
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Difference, Interval, mean_interval, paired_difference
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import (
    EndpointScores,
    before_and_at_pick,
    trained_scores,
    untrained_scores,
    values_of,
)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One arm at one epoch against the untrained models of the same seeds, on one split under one setting."""

    arm: Arm
    split: str
    setting: str
    epoch: int | None  # None: each seed at the epoch that validation picked
    before: tuple[Evaluation, ...]  # in the order of seeds, as `after`
    after: tuple[Evaluation, ...]

    def over_seeds(self) -> Interval:
        """The gain paired by seed, with its 95 % t-interval over seeds: new seeds, these questions."""
        pairs = zip(self.before, self.after, strict=True)
        return mean_interval([after.accuracy() - before.accuracy() for before, after in pairs])

    def difference(self) -> Difference | None:
        """Both sources of chance; None where the seeds were not all asked the same questions."""
        evaluations = (*self.before, *self.after)
        if len({evaluation.questions.asked for evaluation in evaluations}) > 1:
            return None
        after, before = (np.stack([evaluation.scores() for evaluation in side]) for side in (self.after, self.before))
        return paired_difference(after, before=before, images=self.after[0].questions.images())


def gain_of(arm: Arm, *, split: str, setting: str) -> Gain | None:
    """The gain at the last epoch that all used runs reached; None where there is no untrained model or no later epoch."""
    epoch = arm.last_epoch(split=split, setting=setting)
    if epoch is None:
        return None
    pairs = [
        (before, records.evaluations[epoch, split, setting])
        for records in arm.used
        if (before := records.evaluations.get((UNTRAINED_EPOCH, split, setting))) is not None
    ]
    return _gain(arm, split=split, setting=setting, epoch=epoch, pairs=pairs)


def gain_at_pick(arm: Arm, *, endpoint: Endpoint, split: str, setting: str) -> Gain | None:
    """The gain of each seed at the epoch that validation picked for it; None where there is nothing to compare."""
    pairs = before_and_at_pick(arm, endpoint=endpoint, split=split, setting=setting)
    return _gain(arm, split=split, setting=setting, epoch=None, pairs=pairs)


def _gain(
    arm: Arm, *, split: str, setting: str, epoch: int | None, pairs: Sequence[tuple[Evaluation, Evaluation]]
) -> Gain | None:
    if not pairs:
        return None
    befores, afters = zip(*pairs, strict=True)
    return Gain(arm=arm, split=split, setting=setting, epoch=epoch, before=befores, after=afters)


def gain_table(records: Records) -> Table:
    """Last epoch minus untrained model, paired by seed, with both intervals of statistics.md (item 4)."""
    keys = product(records.trained, records.splits(), records.settings())
    found = (gain_of(arm, split=split, setting=setting) for arm, split, setting in keys)
    rows = [_gain_row(gain) for gain in found if gain is not None]
    return table_of("gain", rows, without=() if any(row["seeds"] == 1 for row in rows) else ("this_run_only",))


def _gain_row(gain: Gain) -> Row:
    difference = gain.difference()
    return {
        "arm": gain.arm.label,
        "split": gain.split,
        "setting": gain.setting,
        "seeds": len(gain.after),
        "epoch": gain.epoch,
        "gain": gain.over_seeds(),
        "new_questions": difference.new_questions() if difference and len(gain.after) > 1 else None,
        "this_run_only": difference.this_run_only() if difference and len(gain.after) == 1 else None,
        "variance_seeds": math.nan if difference is None else difference.variance_seeds,
        "variance_questions": math.nan if difference is None else difference.variance_questions,
    }


def gain_split_table(records: Records, *, endpoint: Endpoint) -> Table:
    """How much of the gain at the picked epochs is format and how much is reasoning: split for each seed, averaged over seeds."""
    setting, places = endpoint.setting, product(records.trained, records.splits())
    found = (gain_at_pick(arm, endpoint=endpoint, split=split, setting=setting) for arm, split in places)
    return table_of("gain_split", (_split_row(gain) for gain in found if gain is not None), setting=title_of(endpoint.setting))


def _split_row(gain: Gain) -> Row:
    before, after = (
        functools.reduce(operator.add, (evaluation.format_counts() for evaluation in side))
        for side in (gain.before, gain.after)
    )
    splits = [split_gain(a.format_counts(), before=b.format_counts()) for b, a in zip(gain.before, gain.after, strict=True)]
    parts = {name: mean_interval([getattr(split, name) for split in splits]) for name in GainSplit.__dataclass_fields__}
    return {
        "arm": gain.arm.label,
        "split": gain.split,
        "seeds": len(splits),
        **parts,
        "well_formed_vanilla": before.well_formed,
        "well_formed_picked": after.well_formed,
        "accuracy_if_well_formed_vanilla": before.accuracy_if_well_formed,
        "accuracy_if_well_formed_picked": after.accuracy_if_well_formed,
        "responses": after.num_responses,
    }


MIN_CELLS = 12  # below that the interquartile mean cuts two cells or fewer from an end and is hardly a middle
STREAM = 8  # key of the generator: a report made twice is the same


@dataclass(frozen=True, kw_only=True)
class Side:
    """One arm, or its untrained model: the measured matrix and its draws."""

    matrix: Float[np.ndarray, "runs kinds"]
    draws: Float[np.ndarray, "draws runs kinds"]

    @property
    def num_seeds(self) -> int:
        """Rows."""
        return len(self.matrix)


def aggregate_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Interquartile means, and how probably a trained run beats an untrained one on a kind of problem."""
    return table_of(
        "aggregates",
        (row for arm in records.trained for row in _rows(arm, endpoint=endpoint)),
        cells=MIN_CELLS,
        **values_of(endpoint),
    )


def _rows(arm: Arm, *, endpoint: Endpoint) -> Iterator[Row]:
    after, before = trained_scores(arm, endpoint=endpoint), untrained_scores(arm, endpoint=endpoint)
    if not after.evaluations:
        return
    reason = _why_not(after, before=before)
    cells = len(after.evaluations) * len(set(_kinds(after)))
    row: Row = {"arm": arm.label, "seeds": len(after.evaluations), "cells": cells, "left_out": reason}
    yield row if reason else {**row, **_aggregates(after, before=before)}


def _why_not(after: EndpointScores, *, before: EndpointScores) -> Phrase | None:
    asked = {evaluation.questions.asked for side in (after, before) for evaluation in side.evaluations.values()}
    if len(asked) > 1:
        return say("the seeds answered different questions")
    if len(after.evaluations) < 2:
        return say("a single seed")
    if len(after.evaluations) * len(set(_kinds(after))) < MIN_CELLS:
        return say("fewer than {cells} cells", cells=MIN_CELLS)
    return None


def _aggregates(after: EndpointScores, *, before: EndpointScores) -> Row:
    generator = np.random.Generator(np.random.Philox(key=STREAM))
    images = next(iter(after.evaluations.values())).questions.images()
    questions = resample_images(images, generator=generator)  # the same for both sides: they answered the same questions
    kinds = _kinds(after)
    trained = _side(after, kinds=kinds, questions=questions, generator=generator)
    found: Row = {"iqm": _iqm(trained)}
    if len(before.evaluations) < 2:
        return found
    untrained = _side(before, kinds=kinds, questions=questions, generator=generator)
    improvement = percentile_interval(
        probability_of_improvement(trained.draws, reference=untrained.draws),
        estimate=float(probability_of_improvement(trained.matrix, reference=untrained.matrix)),
        num_seeds=min(trained.num_seeds, untrained.num_seeds),
    )
    return {**found, "iqm_vanilla": _iqm(untrained), "improvement": improvement}


def _side(scores: EndpointScores, *, kinds: list[str], questions: QuestionCounts, generator: np.random.Generator) -> Side:
    matrix = scores.matrix()
    seeds = resample(len(matrix), generator=generator, num_draws=len(questions))
    return Side(
        matrix=kind_matrix(matrix, kinds=kinds),
        draws=bootstrap_kind_matrices(matrix, kinds=kinds, seeds=seeds, questions=questions),
    )


def _iqm(side: Side) -> Interval:
    estimate = float(interquartile_mean(side.matrix))
    return percentile_interval(interquartile_mean(side.draws), estimate=estimate, num_seeds=side.num_seeds)


def _kinds(scores: EndpointScores) -> list[str]:
    return next(iter(scores.evaluations.values())).questions.values("kind")
