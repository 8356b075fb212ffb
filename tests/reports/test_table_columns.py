"""How cells of a table read on the page."""

import math

import pytest

from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.tables.table import Shown, number, percent, points


def interval(estimate: float, *, low: float, high: float, seeds: int = 3) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, num_seeds=seeds)


def test_the_ends_of_a_share_stay_between_0_and_100_on_the_page_and_those_of_a_difference_do_not() -> None:
    wide = interval(0.9, low=-0.02, high=1.005)
    assert percent("x", title="x").show(wide) == Shown(text="90.0", detail="[0.0, 100.0]")
    assert points("x", title="x").show(wide) == Shown(text="+90.0", detail="[-2.0, +100.5]")


@pytest.mark.parametrize("share", [0.1985, 0.1985 - 3e-17, 0.1985 + 3e-17, 0.9 - 0.7015])
def test_one_number_reads_alike_however_it_was_computed(share: float) -> None:
    assert points("x", title="x").show(share).text == points("x", title="x").show(0.1985).text


def test_nothing_is_never_negative() -> None:
    assert percent("x", title="x").show(-0.0001).text == "0.0"
    assert points("x", title="x").show(-0.0001).text == "+0.0"
    assert number("x", title="x", pattern="{:,.0f}").show(-0.2).text == "0"
    assert number("x", title="x", pattern="{:.2g}").show(-1e-20).text == "-1e-20"  # a number so small is still one
    assert points("x", title="x").show(interval(0.0, low=-0.0001, high=0.001)).detail == "[+0.0, +0.1]"


def test_seeds_that_all_say_the_same_are_said_to_and_a_single_one_is_not() -> None:
    shown = percent("x", title="x").show(mean_interval([0.6, 0.6, 0.6]))
    assert shown == Shown(text="60.0", detail="(same for all seeds)")
    assert isinstance(shown.detail, Phrase)
    assert percent("x", title="x").show(mean_interval([1.0, 1.0])).detail == "(same for all seeds)"
    assert percent("x", title="x").show(mean_interval([0.6])) == Shown(text="60.0")
    assert points("x", title="x").show(interval(0.6, low=0.6, high=0.6, seeds=1)).detail == "[+60.0, +60.0]"
    assert percent("x", title="x").show(mean_interval([math.nan])) == Shown(text="–")
