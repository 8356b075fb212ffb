import math

import numpy as np
import pytest
from hand_training import records_of, run_of

from vlm_rl.evaluation.dynamics import bin_by_length
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.tables.behaviour_tables import (
    bottleneck_table,
    correlation_table,
    length_held_fixed_table,
    length_table,
    policy_table,
    reflection_table,
    seed_sensitivity_table,
    word_table,
)
from vlm_rl.reports.tables.table import Cell, cells


def interval(cell: Cell) -> Interval:
    assert isinstance(cell, Interval)
    return cell


def ends(cell: Cell) -> tuple[float, float, float]:
    return interval(cell).estimate, interval(cell).low, interval(cell).high


def test_length_at_the_start_and_at_the_end_by_hand() -> None:
    """Ten steps: a fifth are two. Of a step's responses a share is cut off, and steps weigh by how many of a kind they have."""
    cut = [0.5, 0.0, *[0.1] * 6, 0.25, 0.75]
    runs = [
        run_of(
            seed=seed,
            response_length__mean=[100.0 + seed] * 8 + [140.0, 160.0],
            response_length__mean_terminated=[60.0, 90.0, *[80.0] * 6, 100.0, 200.0],
            response_length__mean_truncated=[140.0, None, *[150.0] * 6, 256.0, 256.0],
            response_length__truncated=cut,
        )
        for seed in (0, 2)
    ]
    first, last, change = length_table(records_of(*runs)).rows
    assert (first["when"], last["when"], change["when"]) == ("first fifth", "last fifth", "change")
    assert ends(first["all"]) == pytest.approx(ends_of([100, 102]))
    assert ends(change["all"]) == pytest.approx(ends_of([50, 48]))
    assert interval(first["terminated"]).estimate == pytest.approx((60 * 0.5 + 90 * 1.0) / 1.5)
    assert interval(last["terminated"]).estimate == pytest.approx((100 * 0.75 + 200 * 0.25) / 1.0)
    assert interval(first["truncated"]).estimate == pytest.approx(140)  # the second step has none
    assert interval(change["cut_off"]).estimate == pytest.approx(0.5 - 0.25)


def ends_of(values: list[float]) -> tuple[float, float, float]:
    return ends(mean_interval(values))


def test_ratios_of_several_steps_are_those_of_the_pooled_counts() -> None:
    """Two steps of ten responses at either end: 4 and 1 reflect at first (2 and 1 of them right), 5 and 5 in the end."""
    run = run_of(
        seed=0,
        train__accuracy=[0.6, 0.5, *[0.5] * 6, 0.8, 0.8],
        reflection__reflection_ratio=[0.4, 0.1, *[0.2] * 6, 0.5, 0.5],
        reflection__reflection_ratio_in_correct_answers=[2 / 6, 1 / 5, *[0.2] * 6, 4 / 8, 4 / 8],
        reflection__reflection_ratio_in_incorrect_answers=[2 / 4, 0 / 5, *[0.2] * 6, 1 / 2, 1 / 2],
        reflection__correct_ratio_in_reflection_texts=[2 / 4, 1 / 1, *[0.5] * 6, 4 / 5, 4 / 5],
        reflection__correct_ratio_in_no_reflection_texts=[4 / 6, 4 / 9, *[0.5] * 6, 4 / 5, 4 / 5],
    )
    first, last, _ = reflection_table(records_of(run)).rows
    found = [interval(first[name]).estimate for name in list(first)[3:]]
    assert found == pytest.approx([5 / 20, 3 / 11, 2 / 9, 3 / 5, 8 / 15])
    assert interval(last["correct_ratio_in_reflection_texts"]).estimate == pytest.approx(8 / 10)
    assert math.isnan(interval(last["reflection_ratio"]).low)  # a single seed has no interval


def test_only_words_that_occur_are_listed_and_the_change_is_that_of_each_seed() -> None:
    runs = [
        run_of(seed=seed, reflection__word__wait=[seed, 4, 4, 4, 10], reflection__word__check_again=[0] * 5) for seed in (0, 2)
    ]
    (row,) = word_table(records_of(*runs)).rows
    assert row["word"] == "wait"
    assert ends(row["change"]) == pytest.approx(ends_of([10, 8]))


def test_an_arm_without_a_quantity_has_no_row() -> None:
    records = records_of(run_of(seed=0, policy__entropy=[1.0, 0.5]))
    assert not length_table(records).rows
    assert not reflection_table(records).rows
    first, last, _ = policy_table(records).rows
    assert (interval(first["entropy"]).estimate, interval(last["entropy"]).estimate) == (1.0, 0.5)
    shown = dict(
        zip(
            [column.key for column, _ in cells(policy_table(records), row=first)],
            cells(policy_table(records), row=first),
            strict=True,
        )
    )
    assert shown["kl"][1].text == "–"


def test_reflection_against_length_by_hand() -> None:
    length = [1.0, 2, 3, 4, 5]
    ratios = ([0.1, 0.3, 0.2, 0.5, 0.4], [0.2, 0.1, 0.3, 0.5, 0.4], [0.1] * 5)  # rho = 0.8, 0.8, none
    runs = [run_of(seed=s, response_length__mean=length, reflection__reflection_ratio=ratios[s]) for s in range(3)]
    (row,) = correlation_table(records_of(*runs)).rows
    assert row["pair"] == "reflection and response length"
    assert ends(row["rho"]) == pytest.approx((0.8, 0.8, 0.8))
    assert (row["seeds"], row["by_seed"]) == (2, "+0.80, +0.80, –")


def test_length_held_fixed_by_hand() -> None:
    """A hundred responses a step, twenty in each fifth, the same in both seeds but for ten verdicts."""
    lengths = np.repeat(np.arange(10), 10)
    reflective = np.repeat([True, False] * 5, 10)
    right = reflective.copy()
    other = right.copy()
    other[:10] = False
    runs = [
        run_of(seed=seed, bins=bin_by_length(lengths, reflective=reflective, correct=correct))
        for seed, correct in enumerate((right, other))
    ]
    shortest, *_, longest = length_held_fixed_table(records_of(*runs)).rows
    assert (shortest["quintile"], longest["quintile"]) == ("shortest fifth", "longest fifth")
    assert (shortest["responses"], shortest["reflective"], shortest["seeds"]) == (40, 20, 2)
    assert interval(shortest["reflection_ratio"]).estimate == 0.5
    assert ends(shortest["correct_if_reflective"]) == pytest.approx(ends_of([1.0, 0.0]))
    assert interval(shortest["difference"]).estimate == 0.5
    assert ends(longest["difference"]) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("reflective_by_seed", "is_shown"),
    [((10, 10, 0), False), ((9, 9, 1), False), ((9, 10, 1), True), ((10, 10), True), ((20,), True), ((19,), False)],
)
def test_few_reflective_responses_or_few_seeds_that_have_one_make_no_share(
    reflective_by_seed: tuple[int, ...], is_shown: bool
) -> None:
    """All forty responses of a step are of one length, which is the middle of the ranks: the third fifth."""
    runs = [
        run_of(
            seed=seed,
            bins=bin_by_length(np.ones(40), reflective=np.arange(40) < count, correct=np.arange(40) % 2 == 0),
        )
        for seed, count in enumerate(reflective_by_seed)
    ]
    third = length_held_fixed_table(records_of(*runs)).rows[2]
    assert third["reflective"] == sum(reflective_by_seed)
    assert not math.isnan(interval(third["reflection_ratio"]).estimate)
    assert not math.isnan(interval(third["correct_if_plain"]).estimate)
    assert math.isnan(interval(third["correct_if_reflective"]).estimate) is not is_shown
    assert math.isnan(interval(third["difference"]).estimate) is not is_shown


def test_where_nearly_all_reflect_the_others_make_no_share_either() -> None:
    runs = [
        run_of(seed=seed, bins=bin_by_length(np.ones(40), reflective=np.arange(40) < 35, correct=np.arange(40) < 20))
        for seed in range(3)
    ]
    third = length_held_fixed_table(records_of(*runs)).rows[2]
    assert interval(third["correct_if_reflective"]).estimate == pytest.approx(20 / 35)
    assert math.isnan(interval(third["correct_if_plain"]).estimate)  # 15 of three seeds
    assert math.isnan(interval(third["difference"]).estimate)


def test_a_change_of_a_share_is_no_share_and_its_interval_may_end_below_zero() -> None:
    """Clipped: 0.1 and 0.3 % at first; the change is -0.1 and +0.1 points, whose interval is wide."""
    ends_of_runs = ((0.001, 0.0), (0.003, 0.004))
    runs = [run_of(seed=seed, policy__clip_fraction=[a] * 2 + [0.0] * 6 + [b] * 2) for seed, (a, b) in enumerate(ends_of_runs)]
    table = policy_table(records_of(*runs))
    shown = [next(shown for column, shown in cells(table, row=row) if column.key == "clip_fraction") for row in table.rows]
    assert (shown[0].text, shown[2].text) == ("0.200", "0.000")
    assert shown[2].detail == "[-1.271, 1.271]"  # 12.706 times 0.1


def test_without_stored_responses_length_is_not_held_fixed() -> None:
    assert not length_held_fixed_table(records_of(run_of(seed=0, response_length__mean=[1.0]))).rows


def test_the_share_of_length_between_seeds_epoch_by_epoch() -> None:
    runs = [run_of(seed=seed, response_length__mean=[10.0 * seed + 1, 10.0 * seed + 3, 5.0, 7.0]) for seed in range(3)]
    first, second = seed_sensitivity_table(records_of(*runs)).rows
    assert (first["epoch"], first["seeds"], first["steps"]) == (1, 3, 2)
    assert interval(first["share"]).estimate == pytest.approx((200 - 2) / (200 + 2))  # as in test_dynamics.py
    assert (interval(first["length"]).estimate, first["spread"]) == (12.0, 10.0)
    assert (interval(second["share"]).estimate, second["spread"]) == (0.0, 0.0)
    assert not seed_sensitivity_table(records_of(runs[0])).rows


def test_the_bottleneck_of_the_mean_over_seeds() -> None:
    """Two steps an epoch; the epoch's accuracy is that of its last step. Means: 0.40, 0.50, 0.504."""
    low = run_of(seed=0, train__accuracy_in_epoch=[0.1, 0.30, 0.1, 0.40, 0.1, 0.408])
    high = run_of(seed=1, train__accuracy_in_epoch=[0.1, 0.50, 0.1, 0.60, 0.1, 0.600])
    (row,) = bottleneck_table(records_of(low, high)).rows
    assert (row["bottleneck"], row["epochs"], row["seeds"]) == (2, 3, 2)
    assert (row["accuracy"], row["best_later"], row["last"]) == pytest.approx((0.5, 0.504, 0.504))
    (row,) = bottleneck_table(records_of(low, high), gain=0.001).rows
    assert row["bottleneck"] is None
    assert "0.1 points" in bottleneck_table(records_of(low, high), gain=0.001).note


def test_unfinished_runs_beside_finished_ones_are_in_no_mean() -> None:
    done = run_of(seed=0, policy__kl=[1.0, 1.0])
    running = run_of(seed=1, policy__kl=[9.0, 9.0], finished=False)
    first, *_ = policy_table(records_of(done, running)).rows
    assert (first["seeds"], interval(first["kl"]).estimate) == (1, 1.0)
