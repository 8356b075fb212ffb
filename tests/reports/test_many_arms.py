"""Studies of many arms: one order by effect, a few arms in colour, and pages of bounded length."""

import re
from dataclasses import replace

import numpy as np
from judged_studies import arm, gained, judged, records

from vlm_rl.reports.composition import in_order_of
from vlm_rl.reports.figures.drawing import legend_lines
from vlm_rl.reports.figures.front import MOST_IN_FRONT, few_in_front, places_behind
from vlm_rl.reports.figures.panels import Figure, Line, Panel
from vlm_rl.reports.first_page.decision import by_effect
from vlm_rl.reports.page.html import MOST_PRINTED, _file
from vlm_rl.reports.reading.arms import Arm

UNTESTED = arm("untested", before=[None], after=[[0.5]])


def gaining(*steps: int) -> list[Arm]:
    """Arms `a0`, `a1`, ... that gain so many times 5 points, the steps of a score here."""
    return [gained(f"a{place}", 0.05 * step, 0.05 * step + 0.05) for place, step in enumerate(steps)]


def test_many_arms_stand_in_the_order_of_their_effects_and_those_without_one_last() -> None:
    study = records(UNTESTED, *gaining(1, 4, -4, 3))
    verdicts = by_effect(judged(study))
    assert [one.arm for one in verdicts] == ["a1", "a3", "a0", "a2", "untested"]
    assert [one.label for one in in_order_of(verdicts, records=study).trained] == ["a1", "a3", "a0", "a2", "untested"]


def test_the_reference_stands_before_the_arms_that_are_held_against_it() -> None:
    study = records(*gaining(1, 4, -4, 3, 0))
    verdicts = by_effect(judged(study, reference="a0"))
    assert [one.label for one in in_order_of(verdicts, records=study).trained] == ["a0", "a1", "a3", "a4", "a2"]


def test_a_few_arms_stay_in_their_own_order() -> None:
    study = records(*gaining(1, 4))
    verdicts = by_effect(judged(study))
    assert [one.arm for one in verdicts] == ["a0", "a1"] and in_order_of(verdicts, records=study) is study


def test_of_twelve_arms_the_reference_and_the_highest_and_lowest_are_in_colour() -> None:
    study = records(*gaining(*range(-6, 6)))
    verdicts = by_effect(judged(study))
    assert places_behind(study.trained, verdicts=verdicts) == {4, 5, 6, 7}
    held = by_effect(judged(study, reference="a6"))  # half of the seven that are left: three highest, three lowest, one more
    behind = places_behind(study.trained, verdicts=held)
    assert len(behind) == 12 - MOST_IN_FRONT and not behind & {6, 0, 1, 2, 9, 10, 11}
    few = records(*gaining(*range(-4, 4)))
    assert places_behind(few.trained, verdicts=by_effect(judged(few))) == frozenset()


def lines_of(count: int) -> tuple[Line, ...]:
    x = np.arange(3.0)
    return tuple(Line(label=f"a{n}", color=n, x=x, by_seed={0: x + n, 1: x - n}, unfinished={}) for n in range(count))


def test_arms_behind_leave_legend_and_panels_of_their_own_but_their_numbers_stay() -> None:
    lines = lines_of(4)
    together = Panel(title="all", x_label="x", y_label="y", lines=lines)
    alone = (replace(together, title=one.label, lines=(one,), behind=lines[:1]) for one in lines)
    figure = Figure(name="f", title="t", caption="c.", panels=(together, *alone), num_columns=2)
    few = few_in_front(figure, behind={1, 2})
    assert [panel.title for panel in few.panels] == ["all", "a0", "a3"]
    assert [line.label for line in legend_lines(few)] == ["a0", "a3"]
    assert [line["arm"] for line in few.panels[0].as_json()["lines"]] == ["a0", "a1", "a2", "a3"]
    assert "grey: the means of the other 2 arms" in few.caption
    assert few_in_front(figure, behind=()) is figure


def test_as_many_rows_are_printed_as_the_page_says_and_no_table_is_higher_than_the_screen() -> None:
    assert f"tr:nth-child(n + {MOST_PRINTED + 1})" in _file("print.css")
    assert re.search(r"\.scroll \{ overflow: auto; max-height: ", _file("page.css"))
