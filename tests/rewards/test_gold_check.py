"""Golds that nobody could answer, or that a wrong answer would satisfy, are found before training."""

import pytest

from vlm_rl.rewards.gold_check import GoldCheck, check_golds, near_misses, usual_spellings
from vlm_rl.rewards.judge import Judge, Verdict

FIT = ["20", r"\boxed{20}", "$20$", "0", "-3.5", "1,234", r"\frac{1}{2}", r"35^\circ", "50%", "x=3", "12 cm", "3, 4"]
FIT += [r"2\sqrt{3}", r"25\pi", "A", "isosceles", "x+1", "y=2x+3", "x^2+y^2=1", "(3,4)"]


def test_fit_golds_equal_themselves_and_no_near_miss(judge: Judge) -> None:
    assert check_golds(judge, FIT).failing == ()


def test_golds_that_cannot_be_read_are_named_by_every_position(judge: Judge) -> None:
    check = check_golds(judge, ["20", "", "???", "20", "", r"\frac{", r"\boxed{}", "1+" * 200 + "1"])
    assert check.unparsable == (1, 2, 4, 5, 6, 7)
    assert check.failing == (1, 2, 4, 5, 6, 7)


@pytest.mark.parametrize(("verdict", "unequal", "too_easy"), [(Verdict.CORRECT, (), (0, 1)), (Verdict.WRONG, (0, 1), ())])
def test_a_judge_that_says_the_same_to_everything_is_found_out(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict, unequal: tuple[int, ...], too_easy: tuple[int, ...]
) -> None:
    judge = Judge(num_workers=1, timeout_s=1.0)
    monkeypatch.setattr(judge, "judge", lambda responses, golds: [verdict] * len(responses))
    check = check_golds(judge, ["20", "30"])
    assert check == GoldCheck(unparsable=(), not_equal_to_itself=unequal, equal_to_a_near_miss=too_easy)


@pytest.mark.parametrize(
    ("gold", "misses"),
    [
        ("20", ["21", "2001/100", "-20"]),
        ("0", ["1", "1/100", "2"]),
        ("-0.5", ["1/2", "-49/100", "1/2"]),
        ("x = 3 cm", ["4", "301/100", "-3"]),
        ("3, 4", ["3, 5", "3, 401/100", "3, -4"]),
        (r"\sqrt{2}", [r"\sqrt{2} + 1", r"\sqrt{2} + \frac{1}{100}", r"\sqrt{2} - 1"]),
    ],
)
def test_near_misses_by_hand(gold: str, misses: list[str]) -> None:
    assert near_misses(gold) == misses


REACHED = [
    "34m",
    "5 N",
    "25°C",
    "<answer> 3 </answer>",
    "25pi",
    "12 apples",
    "3:15",
    "A. 35",
    "2x+1",
    "34 km/hr",
    "#### 34",
    "**34**",
]
REACHED += ["10-20", "12 hundred", "about 34"]
NOT_REACHED = ["The answer is 34", "34 m (east)", "Answer: 34", "only 5", "34'", "Rs. 34", "34 of them", "x is 34"]


def test_golds_that_hold_more_than_the_answer_are_named_and_can_be_trained_on(judge: Judge) -> None:
    """Each equals itself; a model that boxes the number alone would never be right."""
    check = check_golds(judge, [*REACHED, *NOT_REACHED])
    assert check.failing == ()
    assert check.not_reached == tuple(range(len(REACHED), len(REACHED) + len(NOT_REACHED)))


def test_a_gold_is_tried_as_a_model_would_write_it() -> None:
    assert usual_spellings("The answer is 34") == ["$The answer is 34$", "34"]
    assert usual_spellings("34 cm") == ["$34 cm$", "34"]
    assert usual_spellings(r"2\sqrt{3}") == [r"$2\sqrt{3}$"]  # 2 is a piece of it


def test_near_misses_of_a_form_change_each_number(judge: Judge) -> None:
    """Plus 1 on both ends of a range has the same difference, and of a time the same hour."""
    forms = ["10-20", "4:30", "2021-05-03", "1011_2", r"4 \times 8 \times 12", "2-5-3-1-4"]
    assert [len(near_misses(gold)) for gold in forms] == [3] * len(forms)
    assert check_golds(judge, forms).failing == ()
