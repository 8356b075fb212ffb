"""All pairs of trained arms: the statistics of the verdicts, Holm's correction over all pairs, and never the words of a verdict."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from judged_studies import DECLARED, ENDPOINT, FIVE, arm, gained, judged, records
from scipy import stats

from vlm_rl.evaluation.power import seeds_needed
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.table import Interval, Table
from vlm_rl.reports.verdicts.decision_tables import pair_table, pairs_of

AGAINST_A = DECLARED | {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"reference": "a"}}}}
LOW = (0.0, 0.05, -0.05, 0.0, 0.0)  # variance of seeds 0.00125, as of FIVE, whose mean is 0.2
CLOSE = (0.05, 0.1, 0.0, 0.05, 0.05)


def like(label: str, *gains: float) -> Arm:
    """Questions respond alike in all arms (spread 0), so that all chance of a difference lies in the seeds."""
    return gained(label, *gains, spread=0.0, config=AGAINST_A)


THREE = records(like("a", *LOW), like("b", *FIVE), like("c", *CLOSE))


def table_of(study: Records) -> Table:
    return pair_table(study, verdicts=judged(study))


def shown(table: Table) -> list[dict[str, str]]:
    return [{column.key: column.show(row[column.key]).text for column in table.columns} for row in table.rows]


def by_hand(effect: float) -> float:
    """Welch's t with equal variances 0.00125 and five seeds: standard error sqrt(2 x 0.00125 / 5), df 8."""
    return float(2 * stats.t.sf(abs(effect) / math.sqrt(0.0005), 8))


def test_every_pair_has_the_p_of_welch_and_holm_over_all_pairs() -> None:
    """p(a, b) = 2e-5, p(a, c) = 0.056, p(b, c) = 1.5e-4: times 3, 1 and 2."""
    assert [(row["arm"], row["other"]) for row in table_of(THREE).rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    p_values = [row["p_value"] for row in table_of(THREE).rows]
    np.testing.assert_allclose(p_values, [by_hand(0.2), by_hand(0.05), by_hand(0.15)], rtol=1e-6)
    adjusted = [row["adjusted_p"] for row in table_of(THREE).rows]
    np.testing.assert_allclose(adjusted, [3 * by_hand(0.2), by_hand(0.05), 2 * by_hand(0.15)], rtol=1e-6)


def test_effects_are_a_minus_b_with_the_interval_of_new_seeds_and_questions() -> None:
    first, *_ = table_of(THREE).rows
    interval = first["difference"]
    assert isinstance(interval, Interval)
    half = stats.t.isf(0.025, 8) * math.sqrt(0.0005)
    np.testing.assert_allclose([interval.estimate, interval.low, interval.high], [-0.2, -0.2 - half, -0.2 + half])


def test_what_is_told_apart_needs_no_plan_and_what_is_not_says_the_seeds() -> None:
    apart, not_apart, _ = shown(table_of(THREE))
    assert (apart["said"], apart["seeds_for_delta"], apart["seeds_as_measured"]) == ("told apart", "–", "–")
    assert not_apart["said"] == "not told apart"
    difference = pairs_of(THREE, verdicts=judged(THREE))[1].comparison.difference
    assert difference is not None
    needed = seeds_needed(difference, effect=0.05, level=0.05 / 3)
    assert not_apart["seeds_as_measured"] == f"about {needed.estimate:.0f} ({needed.low:.0f} to {needed.high:.0f})"
    assert needed.estimate > 5


def test_a_pair_with_the_reference_has_the_p_of_its_verdict_but_a_larger_family() -> None:
    verdicts = {verdict.arm: verdict for verdict in judged(THREE)}
    for row in table_of(THREE).rows[:2]:
        assert row["p_value"] == pytest.approx(verdicts[str(row["other"])].p_value)
        interval = row["difference"]
        assert isinstance(interval, Interval)
        assert interval.estimate == pytest.approx(-verdicts[str(row["other"])].effect)
    assert {verdict.family for verdict in verdicts.values()} == {2}


def hardly(label: str, *, seeds: int) -> Arm:
    """Five seeds at 50 % on 40 questions, of which the first few have one more right of 20 answers: 0.125 points."""
    scores = np.full((5, 40), 0.5)
    scores[np.arange(seeds), np.arange(seeds)] += 0.05
    return arm(label, before=np.full((5, 40), 0.5), after=scores, config=AGAINST_A)


def test_arms_that_surely_lie_close_are_said_to_and_need_no_plan() -> None:
    close = records(hardly("a", seeds=1), hardly("b", seeds=2), hardly("c", seeds=3))
    for row in shown(table_of(close)):
        assert row["said"] == "not told apart, and less than 2 points apart"
        assert row["seeds_for_delta"] == "–"


def test_arms_whose_seeds_do_not_differ_have_no_interval() -> None:
    first, *_ = table_of(records(*(like(label, 0.1, 0.1, 0.1) for label in "abc"))).rows
    interval = first["difference"]
    assert isinstance(interval, Interval)
    assert (interval.estimate, math.isnan(interval.low), math.isnan(float(str(first["p_value"])))) == (0.0, True, True)
    assert str(first["said"]).startswith("not told apart: all 3 seeds show a difference of exactly 0")


def test_two_seeds_tell_nothing_apart_and_one_has_no_p() -> None:
    two_seeds, one_seed, _ = shown(table_of(records(like("a", *LOW), like("b", 0.4, 0.45), like("c", 0.4))))
    assert two_seeds["said"] == "not told apart: two seeds are too few"
    assert (one_seed["p_value"], one_seed["seeds_for_delta"]) == ("–", "–")
    assert one_seed["said"].startswith("not told apart: one seed shows one run")


def test_no_pair_is_called_what_only_a_verdict_may_be_called() -> None:
    table = table_of(THREE)
    words = " ".join([table.title, table.note, *(str(row["said"]) for row in table.rows)]).lower()
    assert not any(word in words for word in ("improv", "harm", "beats", "better", "worse"))
    assert "Secondary: all 3 pairs of trained arms" in table.note
    assert "The verdicts above are those that were declared, and nothing here changes them." in table.note


def test_fewer_than_three_arms_have_no_table_of_pairs() -> None:
    assert table_of(records(*THREE.arms[:2])).rows == ()
    assert table_of(records()).rows == ()


def test_pairs_are_written_as_csv_with_both_ends_and_the_seeds(tmp_path: Path) -> None:
    with table_of(THREE).write_csv(tmp_path / "pairs.csv").open() as file:
        first, *_ = csv.DictReader(file)
    assert first["seeds"] == "5 + 5"
    assert float(first["difference_low"]) < float(first["difference"]) < float(first["difference_high"]) < 0
