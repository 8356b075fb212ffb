"""Verdicts and power as tables; all pairs of arms: the statistics of the verdicts, Holm's correction over all, and never their words."""

import math

import numpy as np
import pytest
from hand_runs import ends
from judged_studies import FIVE, arm, declaring, gained, judged, records, shown
from scipy import stats

from vlm_rl.evaluation.power import seeds_needed
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.table import Interval, Table
from vlm_rl.reports.verdicts.comparisons import compare
from vlm_rl.reports.verdicts.decision_tables import decision_table, pair_table, power_table

ONE_ARM = judged(records(gained("grpo", *FIVE)))
VERDICTS = judged(records(gained("grpo", *FIVE), gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1)))
LOW = (0.0, 0.05, -0.05, 0.0, 0.0)  # variance of seeds 0.00125, as of FIVE, whose mean is 0.2
AGAINST_A = declaring(reference="a")


def test_the_decision_table_holds_a_row_for_each_arm() -> None:
    keys = ("arm", "verdict", "gain", "p_value", "adjusted_p", "seeds", "epochs", "left_out", "this_run_only")
    assert [tuple(row[key] for key in keys) for row in shown(decision_table(VERDICTS))] == [
        ("grpo", "improvement", "+20.0", "< 0.001", "< 0.001", "5", "1, 1, 1, 1, 1", "–", "–"),
        ("sft", "no evidence either way", "+3.3", "0.545", "0.545", "3", "1, 1, 1", "–", "–"),
        ("dapo", "not judged", "+10.0", "–", "–", "1", "1", "–", "+10.0"),
    ]
    alone = decision_table(judged(records(gained("grpo", 0.2)))).rows[0]["this_run_only"]
    assert ends(alone) == pytest.approx((0.2, 0.1676, 0.2324), abs=1e-4)
    assert "this_run_only" not in shown(decision_table(ONE_ARM))[0]  # the column is there only where there are single runs


def test_the_power_table_begins_with_the_study_as_it_is_and_more_seeds_find_less() -> None:
    rows = power_table(ONE_ARM).rows
    five, three, ten, twenty = (row["found_share"] for row in rows)
    assert three > five > ten > twenty  # type: ignore[operator]
    assert ([row["seeds"] for row in rows], five) == ([5, 3, 10, 20], pytest.approx(0.074, abs=5e-4))
    assert shown(power_table(ONE_ARM))[0]["found"] == "about 7.4 (5.8 to 17.6)"
    titles = [column.title for table in (power_table(ONE_ARM), pairs(THREE)) for column in table.columns]
    assert {"Questions for 2 points", "Seeds to find 2 points"} <= set(titles)
    assert {row["arm"] for row in power_table(VERDICTS).rows} == {"grpo", "sft"}  # what was not tested is not planned for


def test_two_seeds_are_said_to_find_none_and_more_seeds_something() -> None:
    two, three, *_ = shown(power_table(judged(records(gained("grpo", 0.2, 0.25)))))
    none = "none: fewer than three seeds"
    assert list(two.values()) == ["grpo", "2", "40", none, none, "out of reach"]
    assert (three["seeds"], three["found"][:6]) == ("3", "about ")


def test_how_uncertain_the_measured_spread_is_depends_on_the_seeds() -> None:
    """Square roots of chi-square limits: df 4 (11.143, 0.4844), and df 2 (7.378, 0.05064) of the arm with three seeds."""
    assert "with 5 seeds the true spread may be 0.6 to 2.9 times the measured one" in power_table(ONE_ARM).note
    assert "with 3 seeds the true spread may be 0.5 to 6.3 times the measured one" in power_table(VERDICTS).note
    assert "true spread" not in power_table(()).note


def like(label: str, *gains: float) -> Arm:
    """Questions respond alike in all arms (spread 0), so that all chance of a difference lies in the seeds."""
    return gained(label, *gains, spread=0.0, config=AGAINST_A)


def hardly(label: str, *, seeds: int) -> Arm:
    """Five seeds at 50 % on 40 questions, of which the first few have one more right of 20 answers: 0.125 points."""
    scores = np.full((5, 40), 0.5)
    scores[np.arange(seeds), np.arange(seeds)] += 0.05
    return arm(label, before=np.full((5, 40), 0.5), after=scores, config=AGAINST_A)


THREE = records(like("a", *LOW), like("b", *FIVE), like("c", 0.05, 0.1, 0.0, 0.05, 0.05))
ALIKE = records(*(like(label, 0.1, 0.1, 0.1) for label in "abc"))
CLOSE = records(hardly("a", seeds=1), hardly("b", seeds=2), hardly("c", seeds=3))
FEW = records(like("a", *LOW), like("b", 0.4, 0.45), like("c", 0.4))


def pairs(study: Records) -> Table:
    return pair_table(study, verdicts=judged(study))


def test_every_pair_has_the_p_of_welch_and_holm_over_all_pairs() -> None:
    """Equal variances 0.00125 and five seeds: standard error sqrt(2 x 0.00125 / 5), df 8; p = 2e-5, 0.056, 1.5e-4: times 3, 1 and 2."""
    rows, effects = pairs(THREE).rows, np.array([-0.2, -0.05, 0.15])
    found = [(row["arm"], row["other"], row["seeds"]) for row in rows]
    assert found == [("a", "b", "5 + 5"), ("a", "c", "5 + 5"), ("b", "c", "5 + 5")]
    p_values, half = 2 * stats.t.sf(np.abs(effects) / math.sqrt(0.0005), 8), stats.t.isf(0.025, 8) * math.sqrt(0.0005)
    both = [[row[key] for row in rows] for key in ("p_value", "adjusted_p")]
    np.testing.assert_allclose(both, [p_values, p_values * [3, 1, 2]], rtol=1e-6)
    intervals = [(cell.estimate, cell.low, cell.high) for row in rows if isinstance(cell := row["difference"], Interval)]
    np.testing.assert_allclose(intervals, np.stack([effects, effects - half, effects + half], axis=1))


def test_what_is_told_apart_needs_no_plan_and_what_is_not_says_the_seeds() -> None:
    apart, not_apart, _ = shown(pairs(THREE))
    a, _, c = THREE.trained
    difference = compare(a, reference=c, choice=judged(THREE)[0].comparison.choice).difference
    assert difference is not None
    needed = [seeds_needed(difference, effect=effect, level=0.05 / 3) for effect in (0.02, 0.05)]
    highs = ["more than 1,000" if math.isinf(one.high) else f"{one.high:,.0f}" for one in needed]
    plans = [f"about {one.estimate:,.0f} ({one.low:,.0f} to {high})" for one, high in zip(needed, highs, strict=True)]
    said = [[row[key] for key in ("said", "seeds_for_delta", "seeds_as_measured")] for row in (apart, not_apart)]
    assert said == [["told apart", "–", "–"], ["not told apart", *plans]]


@pytest.mark.parametrize(
    ("study", "place", "has_p", "said"),
    [
        (CLOSE, 0, True, "not told apart, and less than 2 points apart"),
        (CLOSE, 2, True, "not told apart, and less than 2 points apart"),
        (ALIKE, 0, False, "not told apart: all 3 seeds show a difference of exactly 0"),
        (FEW, 0, True, "not told apart: two seeds are too few"),
        (FEW, 1, False, "not told apart: one seed is one run"),
    ],
)
def test_a_pair_that_needs_no_plan_or_allows_none_says_why(study: Records, place: int, has_p: bool, said: str) -> None:
    row = shown(pairs(study))[place]
    assert (row["p_value"] != "–", row["seeds_for_delta"], row["seeds_as_measured"]) == (has_p, "–", "–")
    assert row["said"].startswith(said)


def test_no_pair_is_called_what_only_a_verdict_may_be_called() -> None:
    table = pairs(THREE)
    words = " ".join([table.title, table.note, *(str(row["said"]) for row in table.rows)]).lower()
    assert not any(word in words for word in ("improv", "harm", "beats", "better", "worse"))
    assert "Secondary: all 3 pairs of trained arms" in table.note
    assert "The verdicts above are those that were declared, and nothing here changes them." in table.note


def test_tables_of_nothing_are_empty() -> None:
    two = records(*THREE.arms[:2])  # two arms have their verdict
    assert decision_table(()).rows == power_table(()).rows == pairs(records()).rows == pairs(two).rows == ()
