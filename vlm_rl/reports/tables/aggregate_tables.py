"""rliable's aggregates over runs x problem kinds, with two-way intervals. Descriptions beside the verdict, never the verdict."""

from collections.abc import Iterator
from dataclasses import dataclass

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
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import EndpointScores, trained_scores, untrained_scores, values_of

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
