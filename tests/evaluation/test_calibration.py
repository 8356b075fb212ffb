"""benchmarks/calibration.py in small: its formulas are the project's, its world is as true as it says, its bars hold in some cells."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vlm_rl.evaluation.dynamics import far_from_other_seeds
from vlm_rl.evaluation.statistics import paired_difference, unpaired_difference
from vlm_rl.evaluation.verdict import Outcome, decide, p_value

NAMES = {
    Outcome.IMPROVEMENT: "improvement",
    Outcome.HARM: "harm",
    Outcome.NO_DIFFERENCE: "no difference",
    Outcome.OPEN: "open",
    Outcome.NOT_JUDGED: "not judged",
}


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_the_vectorised_verdict_is_the_projects_own(calibration: Any, paired: bool) -> None:
    from calibration_decisions import differences

    world = calibration.World(
        gain=0.08, seed_spread=0.02, response_spread=0.5, paired=paired, questions_per_image=2, image_share=0.5
    )
    drawn = world.draw(np.random.default_rng(1), replications=60, seeds=3, questions=60)
    together = differences(drawn.arm, reference=drawn.reference, paired=paired, per_image=2)
    images = [f"image-{number // 2:03d}" for number in range(60)]
    counts = dict.fromkeys(NAMES.values(), 0)
    for place, (arm, reference) in enumerate(zip(drawn.arm.astype(float), drawn.reference.astype(float), strict=True)):
        if paired:
            alone = paired_difference(arm, before=reference, images=images)
        else:
            alone = unpaired_difference(arm, reference=reference, images=images)
        assert together.estimate[place] == pytest.approx(alone.estimate)
        assert together.variance_seeds[place] == pytest.approx(alone.variance_seeds)
        assert together.variance_questions[place] == pytest.approx(alone.variance_questions, abs=1e-12)
        assert together.df_seeds[place] == pytest.approx(alone.df_seeds)
        interval = alone.new_questions()
        assert together.half_width()[place] == pytest.approx(interval.high - interval.estimate)
        counts[NAMES[decide(alone, adjusted_p=p_value(alone), smallest_effect=0.05)]] += 1
    assert counts["open"] < 60, "a sample in which every verdict is the same would show little"
    outcomes = together.outcomes(smallest_effect=0.05)
    assert {name: round(60 * outcomes[name]) for name in counts} == counts


def test_the_vectorised_flag_is_the_projects_own(calibration: Any) -> None:
    from calibration_decisions import flagged

    world = calibration.World(gain=0.05, seed_spread=0.05, response_spread=0.5, paired=True, collapse=0.2)
    drawn = world.draw(np.random.default_rng(2), replications=40, seeds=5, questions=100)
    alone = np.array([far_from_other_seeds(scores) for scores in drawn.arm.astype(float)])
    assert alone.any()
    np.testing.assert_array_equal(flagged(drawn.arm), alone)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_the_simulated_world_has_the_gain_and_the_variances_that_it_states(calibration: Any, paired: bool) -> None:
    from calibration_decisions import differences

    world = calibration.World(gain=0.05, seed_spread=0.05, response_spread=1.0, paired=paired)
    drawn = world.draw(np.random.default_rng(3), replications=1500, seeds=4, questions=100)
    found, truth = differences(drawn.arm, reference=drawn.reference, paired=paired), world.variances()
    a = sum(seed + residual / 100 for seed, residual in zip(truth.seeds, truth.residuals, strict=True)) / 4
    b = truth.questions / 100
    assert found.estimate.mean() == pytest.approx(0.05, abs=0.004)  # its standard error is 0.001
    assert found.variance_seeds.mean() == pytest.approx(a, rel=0.08)  # 1500 * 3 degrees of freedom: 2 %
    assert found.estimate.var() == pytest.approx(a + b, rel=0.15)  # 1500 draws: 4 %


@pytest.mark.slow
def test_the_bars_hold_in_a_few_cells_of_600_replications(calibration: Any) -> None:
    """Every bar widened by three standard errors of 600 replications; the full figures stand in docs/statistics.md."""
    chosen = [
        cell
        for cell in calibration.cells()
        if cell.seeds in (3, 5) and cell.questions == 100 and cell.world.seed_spread == 0.02
    ]
    measured = [calibration.measure((number, cell, 600)) for number, cell in enumerate(chosen)]
    by_block: dict[str, list[Any]] = {}
    for one in measured:
        by_block.setdefault(one.cell.block, []).append(one)
    assert {len(by_block[block]) for block in ("A/A", "no mean gain", "power 0.8", "power 0.5")} == {4}
    assert all(one.coverage > 0.93 - 0.031 for one in measured)
    assert all(one.decisions < 0.055 + 0.028 for block in ("A/A", "no mean gain") for one in by_block[block])
    for one in (*by_block["power 0.8"], *by_block["power 0.5"]):
        assert abs(one.outcomes["improvement"] - one.cell.predicted) < 0.05 + 0.061


def test_a_missed_bar_is_named(calibration: Any) -> None:
    from calibration_tables import missed_bars

    one = calibration.measure((0, next(calibration.cells()), 50))
    spoiled = replace(one, coverage=0.92, outcomes=one.outcomes | {"improvement": 0.03, "harm": 0.03})
    weak = replace(spoiled, coverage=0.93, cell=replace(one.cell, block="power 0.8", predicted=0.8))
    missed = [line.rpartition(": ")[2] for bad in (spoiled, weak) for line in missed_bars([bad])]
    assert missed == [
        "coverage 92.0 %, the bar is 93 %.",
        "a difference is claimed in 6.0 % where there is none, the bar is 5.5 %.",
        "predicted power 80.0 %, simulated 3.0 %.",
    ]
