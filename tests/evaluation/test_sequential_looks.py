"""One look and the estimate at the stop: hand-worked numbers, Holm's steps, futility, and the vectorised rule of the simulation."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.sequential.estimates import at_the_stop
from vlm_rl.evaluation.sequential.looks import Design, Finding, conditional_power, look_at, question_share
from vlm_rl.evaluation.statistics import Difference, paired_difference

DESIGN = Design(seeds=(3, 5, 7, 10))


def difference(*, estimate: float, spread: float, seeds: int, of_questions: float = 0.0, questions: int = 600) -> Difference:
    """Pairs whose seeds spread by `spread`, with a variance `of_questions` of the estimate."""
    return Difference(
        estimate=estimate,
        seeds=(seeds,),
        seed_variances=(spread**2,),
        residual_variances=(0.0,),
        question_variance=of_questions * questions,
        num_questions=questions,
    )


def one(found: Difference, *, place: int, design: Design = DESIGN) -> Any:
    return look_at({"rl": found}, design=design, place=place, family=1)["rl"]


def test_the_share_of_questions_is_that_of_the_largest_design() -> None:
    found = difference(estimate=0.05, spread=0.03, seeds=3, of_questions=0.0001)
    assert question_share(found, seeds=3, most=10) == pytest.approx(0.0001 / (0.0001 + 0.0009 / 10))
    upper = 2 / stats.chi2.ppf(0.025, 2)
    cautious = question_share(found, seeds=3, most=10, is_cautious=True)
    assert cautious == pytest.approx(0.0001 / (0.0001 + 0.0009 / 10 * upper))


def test_conditional_power_is_students_t_of_what_is_missing() -> None:
    found = difference(estimate=0.02, spread=0.04, seeds=5)
    needed = stats.t.isf(0.02, 9) * math.sqrt(0.04**2 / 10)
    to_come = (1 - 5 / 10) * math.sqrt(0.04**2 * (1 / 5 + 1 / 5))
    assert conditional_power(found, seeds=5, most=10, level=0.04) == pytest.approx(stats.t.cdf((0.02 - needed) / to_come, 4))


def test_three_seeds_need_far_more_than_a_fixed_study_and_ten_hardly_more() -> None:
    early = difference(estimate=0.05, spread=0.01, seeds=3)  # t = 8.7, p = 0.013
    assert one(early, place=0).finding is Finding.GO_ON
    late = difference(estimate=0.05, spread=0.06, seeds=10)  # t = 2.64, p = 0.027
    look = one(late, place=3)
    assert look.finding is Finding.SUCCESS
    assert 0.04 < look.level < 0.045
    assert look.interval.low > 0


def test_the_interval_of_a_look_leaves_out_0_exactly_where_something_is_claimed() -> None:
    for estimate in np.linspace(-0.1, 0.1, 21):
        look = one(difference(estimate=float(estimate), spread=0.05, seeds=7, of_questions=1e-4), place=2)
        outside = look.interval.low > 0 or look.interval.high < 0
        assert outside == (look.finding in (Finding.SUCCESS, Finding.HARM))


def test_a_loss_stops_for_futility_long_before_it_is_harm_and_never_where_futility_is_off() -> None:
    loss = difference(estimate=-0.02, spread=0.02, seeds=5)
    assert one(loss, place=1).finding is Finding.FUTILITY
    assert one(loss, place=1, design=Design(seeds=(3, 5, 7, 10), futility=None)).finding is Finding.GO_ON
    assert one(difference(estimate=-0.2, spread=0.02, seeds=5), place=1).finding is Finding.HARM


def test_not_worse_is_a_success_above_the_margin_and_a_clear_loss_stays_harm() -> None:
    design = Design(seeds=(5, 10), margin=0.03)
    assert one(difference(estimate=-0.001, spread=0.01, seeds=10), place=1, design=design).finding is Finding.SUCCESS
    assert one(difference(estimate=-0.08, spread=0.01, seeds=10), place=1, design=design).finding is Finding.HARM


def test_without_spread_nothing_is_claimed() -> None:
    look = one(difference(estimate=0.5, spread=0.0, seeds=3), place=0)
    assert (look.finding, math.isnan(look.p_value)) == (Finding.GO_ON, True)
    assert one(difference(estimate=0.5, spread=0.0, seeds=10), place=3).finding is Finding.OPEN


def test_an_arm_that_is_decided_leaves_its_part_of_the_level_to_the_others() -> None:
    strong, weak = (
        difference(estimate=0.2, spread=0.03, seeds=10),
        difference(estimate=0.05, spread=0.06, seeds=10),
    )  # p = 0.027
    together = look_at({"strong": strong, "weak": weak}, design=DESIGN, place=3, family=2)
    assert {arm: look.finding for arm, look in together.items()} == {"strong": Finding.SUCCESS, "weak": Finding.SUCCESS}
    alone = look_at({"weak": weak}, design=DESIGN, place=3, family=2)["weak"]
    assert alone.finding is Finding.OPEN, "an arm given up before keeps its part"
    assert look_at({"weak": weak}, design=DESIGN, place=3, family=2, decided=1)["weak"].finding is Finding.SUCCESS


@pytest.mark.parametrize("seeds", [(2, 5), (3, 3), (5, 4), ()])
def test_looks_that_are_none_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each look needs more seeds"):
        Design(seeds=seeds)


def test_at_the_first_look_the_estimate_at_the_stop_is_the_difference_itself() -> None:
    found = difference(estimate=-0.05, spread=0.01, seeds=3, of_questions=1e-4)
    interval = at_the_stop([one(found, place=0)])
    assert interval.estimate == pytest.approx(-0.05, abs=1e-5)
    assert interval.low < -0.05 < interval.high


@pytest.mark.slow
def test_the_estimate_at_the_stop_is_as_often_too_high_as_too_low_where_the_plain_one_is_not() -> None:
    truth, generator = 0.04, np.random.default_rng(3)
    above, plain = [], []
    for _ in range(150):
        gains = truth + 0.045 * generator.standard_normal(10)
        looks = []
        for place, seeds in enumerate(DESIGN.seeds):
            found = difference(estimate=float(gains[:seeds].mean()), spread=float(gains[:seeds].std(ddof=1)), seeds=seeds)
            looks.append(one(found, place=place, design=Design(seeds=DESIGN.seeds, spending="pocock", futility=None)))
            if looks[-1].finding is not Finding.GO_ON:
                break
        above.append(at_the_stop(looks).estimate > truth)
        plain.append(looks[-1].estimate > truth)
    assert np.mean(above) == pytest.approx(0.5, abs=0.1)
    assert np.mean(plain) > np.mean(above)


@pytest.mark.slow
def test_the_rule_of_the_simulation_is_the_projects_own(calibration: Any) -> None:
    from calibration_decisions import differences, joined
    from sequential_rule import stopped

    world = calibration.World(gain=0.08, seed_spread=0.02, response_spread=0.5, paired=True)
    design = Design(seeds=(3, 5, 7))
    drawn = [world.draw(np.random.default_rng(seed), replications=40, seeds=7, questions=80) for seed in (1, 2)]
    at = [
        joined(
            [differences(arm.arm[:, :n], reference=arm.reference[:, :n], paired=True) for arm in drawn],
            together=np.column_stack,
        )
        for n in design.seeds
    ]
    found = stopped(at, design=design)
    assert 5 < found.improvement.sum() < 75
    for replication in range(40):
        is_open, decided = [0, 1], 0
        for place, seeds in enumerate(design.seeds):
            now = {
                str(arm): paired_difference(
                    drawn[arm].arm[replication, :seeds].astype(float),
                    before=drawn[arm].reference[replication, :seeds].astype(float),
                )
                for arm in is_open
            }
            for name, look in look_at(now, design=design, place=place, family=2, decided=decided).items():
                if look.finding is Finding.GO_ON:
                    continue
                arm = int(name)
                is_open.remove(arm)
                assert found.seeds[replication, arm] == seeds
                assert found.improvement[replication, arm] == (look.finding is Finding.SUCCESS)
                assert found.harm[replication, arm] == (look.finding is Finding.HARM)
                assert found.low[replication, arm] == pytest.approx(look.interval.low)
                decided += look.finding in (Finding.SUCCESS, Finding.HARM)
        assert not is_open


@pytest.mark.slow
def test_the_simulation_in_small_keeps_its_bars_on_errors_and_coverage(calibration: Any) -> None:
    import sequential_calibration as small

    for arms in (1, 3):
        cell = small.Cell(spread=0.02, questions=100, arms=arms)
        for measured in small.measure((arms, cell, 1500)):
            assert measured.claims < 0.055 + 0.012  # two standard errors of 1,500 replications
            assert measured.false_improvements < 0.03 + 0.01
            assert measured.coverage > 0.93
            assert measured.seeds < 0.7
