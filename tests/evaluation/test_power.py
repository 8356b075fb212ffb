import math

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.power import (
    Variances,
    detectable_effect,
    exaggeration,
    power,
    questions_needed,
    seeds_dominate,
    seeds_needed,
    variance_limits,
    variances_of,
)
from vlm_rl.evaluation.statistics import Difference, paired_difference

D = np.array([[0.1, 0.2, 0.3, 0.2], [0.3, 0.1, 0.2, 0.2], [0.2, 0.0, 0.4, 0.6]])  # a = 1 / 900, b = 1 / 1200


def paired(
    *, seed_sd: float, question_sd: float = 0.0, residual: float = 0.0, seeds: int = 3, questions: int = 200
) -> Difference:
    """A design whose variances are set, not estimated."""
    return Difference(
        estimate=0.03,
        seeds=(seeds,),
        seed_variances=(seed_sd**2 + residual / questions,),
        residual_variances=(residual,),
        question_variance=question_sd**2 + residual / seeds,
        num_questions=questions,
    )


@pytest.mark.parametrize("seeds", [3, 10])
def test_with_chance_from_seeds_alone_power_is_that_of_scipys_noncentral_t(seeds: int) -> None:
    only_seeds = Variances(seeds=(0.02**2,), residuals=(0.0,), questions=0.0)
    for effect in (0.01, 0.03):
        beyond = stats.nct.sf(stats.t.isf(0.025, seeds - 1), seeds - 1, effect / (0.02 / math.sqrt(seeds)))
        assert power(effect, variances=only_seeds, seeds=(seeds,), questions=100) == pytest.approx(beyond, abs=0.005)


def test_with_chance_from_questions_alone_power_is_that_of_a_t_test_over_questions() -> None:
    only_questions = Variances(seeds=(0.0,), residuals=(0.0,), questions=0.3**2)
    beyond = stats.nct.sf(stats.t.isf(0.025, 99), 99, 0.08 / 0.03)
    assert power(0.08, variances=only_questions, seeds=(3,), questions=100) == pytest.approx(beyond, abs=0.01)


def test_two_arms_of_equal_spread_lie_between_welchs_smallest_and_largest_df() -> None:
    both = Variances(seeds=(0.02**2, 0.02**2), residuals=(0.0, 0.0), questions=0.0)
    found = power(0.05, variances=both, seeds=(5, 5), questions=100)
    shift = 0.05 / math.sqrt(2 * 0.02**2 / 5)
    fewest, most = (stats.nct.sf(stats.t.isf(0.025, df), df, shift) for df in (4, 8))
    assert fewest < found < most


def test_variances_are_taken_apart_by_hand() -> None:
    """Seed means vary by 1/300, of which residual / 4 is chance of single questions; questions by b Q = 1/300."""
    difference = paired_difference(D, before=np.zeros_like(D))
    variances = variances_of(difference)
    (residual,) = difference.residual_variances
    assert variances.seeds[0] == pytest.approx(max(0.0, 1 / 300 - residual / 4))
    assert variances.questions == pytest.approx(4 / 1200)
    doubled = variances_of(difference, seed_factor=40.0, question_factor=2.0)
    assert doubled.seeds[0] == pytest.approx(40 / 300 - residual / 4)
    assert doubled.questions == pytest.approx(8 / 1200)


def test_from_three_seeds_the_estimated_spread_is_off_by_a_factor_of_016_to_192() -> None:
    low, high = variance_limits(2)  # multiples of the estimated variance in which the true one lies
    assert 1 / math.sqrt(high) == pytest.approx(0.16, abs=0.005)
    assert 1 / math.sqrt(low) == pytest.approx(1.92, abs=0.005)


def test_the_seeds_needed_are_the_fewest_that_reach_80_percent() -> None:
    """By SciPy's noncentral t: a true gain of one standard deviation of seeds takes 10 (80.3 %), 9 reach 74.9 %."""
    needed = seeds_needed(paired(seed_sd=0.03), effect=0.03)
    assert stats.nct.sf(stats.t.isf(0.025, 9), 9, math.sqrt(10)) > 0.8 > stats.nct.sf(stats.t.isf(0.025, 8), 8, 3.0)
    assert needed.estimate == 10
    assert 3 <= needed.low < 10 < 100 < needed.high  # 39.5 times the variance takes some 300 seeds


def test_the_effect_found_by_the_needed_seeds_is_the_effect_asked_for() -> None:
    difference = paired(seed_sd=0.03, question_sd=0.1, residual=0.2, seeds=5)
    found = detectable_effect(difference)
    assert found.low < found.estimate < found.high
    assert seeds_needed(difference, effect=found.estimate + 1e-5).estimate == 5
    assert seeds_needed(difference, effect=found.estimate - 1e-3).estimate > 5
    assert detectable_effect(difference, seeds=20).estimate < found.estimate
    assert detectable_effect(difference, level=0.025).estimate > found.estimate  # a family of two


def test_questions_that_hide_an_effect_are_not_made_up_for_by_seeds() -> None:
    """b alone has a standard error of 0.5 / sqrt(200) = 3.5 points; 2 points are below it, however many seeds."""
    few = paired(seed_sd=0.005, question_sd=0.5, seeds=5)
    assert not seeds_dominate(few)
    assert seeds_needed(few, effect=0.02).estimate == math.inf
    needed = questions_needed(few, effect=0.02)
    assert 200 < needed.low < needed.estimate < needed.high < math.inf
    # With chance from questions alone 2.8 standard errors would do: (2.8 * 0.5 / 0.02)^2 = 4900; seeds add to it.
    assert 4900 < needed.estimate < 8000


def test_seeds_that_hide_an_effect_are_not_made_up_for_by_questions() -> None:
    few = paired(seed_sd=0.05, seeds=3)
    assert seeds_dominate(few)
    assert questions_needed(few, effect=0.02).estimate == math.inf
    assert detectable_effect(paired(seed_sd=0.9)).estimate == math.inf  # nothing at all is found


def test_two_seeds_never_find_an_improvement_however_steady_the_gain_and_no_chance_at_all_is_full_power() -> None:
    nothing = Variances(seeds=(0.0,), residuals=(0.0,), questions=0.0)
    assert [power(effect, variances=nothing, seeds=(3,), questions=100) for effect in (0.01, 0.0)] == [1.0, 0.0]
    steady = paired(seed_sd=0.0001, seeds=2)
    assert power(0.5, variances=variances_of(steady), seeds=(3,), questions=200) == pytest.approx(1.0)
    assert power(0.5, variances=variances_of(steady), seeds=(2,), questions=200) == 0.0
    found = detectable_effect(steady)
    assert (found.low, found.estimate) == (math.inf, math.inf)
    assert detectable_effect(steady, seeds=3).estimate < 0.01
    assert questions_needed(steady, effect=0.5).estimate == math.inf


AS_PLANNED = {"seed_sd": 0.005, "question_sd": math.sqrt(0.02), "residual": 0.25, "seeds": 3, "questions": 80}


def test_the_exaggeration_of_three_seeds_and_80_questions_is_that_of_the_plan() -> None:
    """Simulated when the rule was made, Bernoulli answers: 1.73 at a true 5 points, 1.20 at 10, 1.03 at 18.6."""
    found = [exaggeration(effect, difference=paired(**AS_PLANNED)) for effect in (0.05, 0.1, 0.186)]
    assert found == pytest.approx([1.73, 1.20, 1.03], abs=0.03)


@pytest.mark.parametrize("effect", [0.03, 0.05, 0.1])
def test_studies_that_find_an_improvement_measure_as_much_too_much_as_the_formula_says(effect: float) -> None:
    """1,500 studies with normal chances; of those whose interval lies above 0 the mean is taken, with three standard errors."""
    generator = np.random.default_rng(14)
    claimed = []
    for _ in range(1500):
        seeds, questions = 0.02 * generator.standard_normal((4, 1)), 0.1 * generator.standard_normal(60)
        scores = effect + seeds + questions + 0.2 * generator.standard_normal((4, 60))
        interval = paired_difference(scores, before=np.zeros_like(scores)).new_questions()
        claimed += [interval.estimate] if interval.low > 0 else []
    design = paired(seed_sd=0.02, question_sd=0.1, residual=0.04, seeds=4, questions=60)
    error = 3 * np.std(claimed) / math.sqrt(len(claimed)) / effect
    assert exaggeration(effect, difference=design) == pytest.approx(np.mean(claimed) / effect, abs=error + 0.02)
    assert exaggeration(effect, difference=design) > 1 + error or effect == 0.1


def test_two_seeds_claim_nothing_and_without_any_chance_nothing_is_exaggerated() -> None:
    assert math.isnan(exaggeration(0.1, difference=paired(seed_sd=0.01, seeds=2)))
    assert exaggeration(0.1, difference=paired(seed_sd=0.0)) == 1.0
    assert exaggeration(0.02, difference=paired(seed_sd=0.05), level=0.01) > exaggeration(0.02, difference=paired(seed_sd=0.05))
