"""What users of rliable look for: the performance profile, and the probability that an arm beats its reference. Secondary, no verdicts.

A cell is the mean score of one run on one kind of question, at the epoch that validation selected.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_rl.evaluation.bootstrap import (
    bootstrap_kind_matrices,
    kind_matrix,
    percentile_interval,
    probability_of_improvement,
    resample,
    resample_images,
    score_distribution,
)
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.figures.accuracy_curves import NUM_DRAWS, TWO_WAY
from vlm_rl.reports.figures.panels import Figure, Line, Panel, figure_of
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.verdicts.endpoint_scores import EndpointScores, values_of
from vlm_rl.reports.verdicts.family import Judged

STREAM = 9  # key of the generator: a report drawn twice is the same
THRESHOLDS = np.linspace(0, 1, 51)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The cells of one side of a comparison, as measured and in each draw of the pigeonhole bootstrap."""

    seeds: tuple[int, ...]
    matrix: Float[np.ndarray, "runs kinds"]
    draws: Float[np.ndarray, "draws runs kinds"]


def profile_figure(verdicts: Sequence[Judged], *, arms: Sequence[Arm], endpoint: Endpoint) -> Figure:
    """The share of cells above each threshold for each compared arm and, in the colour after the arms', the first reference."""
    places = {arm.label: place for place, arm in enumerate(arms)}
    found = {one.arm: ours for one, ours, _ in _compared(verdicts)}
    for one, _, theirs in _compared(verdicts[:1]):
        found.setdefault(one.comparison.reference_name, theirs)
    lines = [_profile(name, color=places.get(name, len(places)), cells=cells) for name, cells in found.items()]
    x, y = say("threshold (%)"), say("scores above (%)")
    panel = Panel(title=endpoint.split, x_label=x, y_label=y, lines=tuple(lines), is_share=True, band=TWO_WAY)
    return figure_of("performance_profile", [panel], num_columns=1, **values_of(endpoint))


def _profile(label: str, *, color: int, cells: Cells) -> Line:
    by_seed = score_distribution(cells.matrix[:, None, :], thresholds=THRESHOLDS)
    draws = score_distribution(cells.draws, thresholds=THRESHOLDS)
    return Line(
        label=label,
        color=color,
        x=100 * THRESHOLDS,
        by_seed=dict(zip(cells.seeds, by_seed, strict=True)),
        unfinished={},
        interval=np.nanquantile(draws, [0.025, 0.975], axis=0),
    )


def improvement_figure(verdicts: Sequence[Judged], *, arms: Sequence[Arm], endpoint: Endpoint) -> Figure:
    """P(a run of an arm beats a run of its reference on a kind), a bar for each arm."""
    places = {arm.label: place for place, arm in enumerate(arms)}
    lines = tuple(
        _improvement(one, color=places[one.arm], ours=ours, theirs=theirs) for one, ours, theirs in _compared(verdicts)
    )
    x, y = say("place in the legend"), say("probability (%)")
    ends = (-0.02, 1.02)
    panel = Panel(title=endpoint.split, x_label=x, y_label=y, lines=lines, is_share=True, band=TWO_WAY, y_range=ends)
    return figure_of("probability_of_improvement", [panel], num_columns=1, band=TWO_WAY, **values_of(endpoint))


def _improvement(verdict: Judged, *, color: int, ours: Cells, theirs: Cells) -> Line:
    by_seed = np.array([probability_of_improvement(run[None], reference=theirs.matrix) for run in ours.matrix])
    draws = probability_of_improvement(ours.draws, reference=theirs.draws)
    interval = percentile_interval(draws, estimate=float(by_seed.mean()), num_seeds=len(ours.seeds))
    return Line(
        label=say("{arm} against {reference}", arm=verdict.arm, reference=verdict.comparison.reference_name),
        color=color,
        x=np.array([color + 1.0]),
        by_seed={seed: np.array([share]) for seed, share in zip(ours.seeds, by_seed, strict=True)},
        unfinished={},
        interval=np.array([[interval.low], [interval.high]]),
    )


def _compared(verdicts: Sequence[Judged]) -> Iterator[tuple[Judged, Cells, Cells]]:
    """Each arm that could be compared, with its cells and those of its reference; a single seed has no band and is left out."""
    for verdict in verdicts:
        sides = (verdict.comparison.scores, verdict.comparison.reference_scores)
        if verdict.difference is not None and all(len(side.evaluations) > 1 for side in sides):
            generator = np.random.Generator(np.random.Philox(key=STREAM))
            questions = next(iter(sides[0].evaluations.values())).questions
            drawn = resample_images(questions.images(), generator=generator, num_draws=NUM_DRAWS)
            ours, theirs = (_cells(side, kinds=questions.values("kind"), drawn=drawn, generator=generator) for side in sides)
            yield verdict, ours, theirs


def _cells(side: EndpointScores, *, kinds: Sequence[str], drawn: np.ndarray, generator: np.random.Generator) -> Cells:
    scores = side.matrix()
    seeds = resample(len(scores), generator=generator, num_draws=len(drawn))
    return Cells(
        seeds=tuple(side.evaluations),
        matrix=kind_matrix(scores, kinds=kinds),
        draws=bootstrap_kind_matrices(scores, kinds=kinds, seeds=seeds, questions=drawn),
    )
