"""Golds that nobody could answer, or that a wrong answer would satisfy, are found before training."""

import pytest

from vlm_rl.rewards.gold_check import GoldCheck, check_golds, near_misses
from vlm_rl.rewards.judge import Judge, Verdict

FIT = ["20", r"\boxed{20}", "$20$", "0", "-3.5", "1,234", r"\frac{1}{2}", r"35^\circ", "50%", "x=3", "12 cm", "3, 4"]
FIT += [r"2\sqrt{3}", r"25\pi", "A", "isosceles", "x+1", "y=2x+3", "x^2+y^2=1", "(3,4)"]


def test_fit_golds_equal_themselves_and_no_near_miss(judge: Judge) -> None:
    assert check_golds(judge, FIT).failing == ()


def test_golds_that_cannot_be_read_are_named_by_every_position(judge: Judge) -> None:
    check = check_golds(judge, ["20", "", "???", "20", "", r"\frac{", r"\boxed{}", "1+" * 200 + "1"])
    assert check.unparsable == (1, 2, 4, 5, 6, 7)
    assert check.failing == (1, 2, 4, 5, 6, 7)


def test_a_judge_that_says_yes_to_everything_is_found_out() -> None:
    class Yes(Judge):
        def judge(self, responses: object, golds: object) -> list[Verdict]:
            return [Verdict.CORRECT] * len(responses)  # type: ignore[arg-type]

    check = check_golds(Yes(num_workers=1, timeout_s=1.0), ["20", "30"])
    assert check == GoldCheck(unparsable=(), not_equal_to_itself=(), equal_to_a_near_miss=(0, 1))


def test_a_judge_that_says_no_to_everything_is_found_out() -> None:
    class No(Judge):
        def judge(self, responses: object, golds: object) -> list[Verdict]:
            return [Verdict.WRONG] * len(responses)  # type: ignore[arg-type]

    check = check_golds(No(num_workers=1, timeout_s=1.0), ["20", "30"])
    assert check == GoldCheck(unparsable=(), not_equal_to_itself=(0, 1), equal_to_a_near_miss=())


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
