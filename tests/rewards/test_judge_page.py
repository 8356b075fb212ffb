r"""Every row of docs/judge.md's tables holds, and pairs made by kind are judged as their makers say."""

import re
from pathlib import Path

import pytest
from different_answers import different
from same_answers import same

from vlm_rl.rewards.judge import Judge, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "judge.md"
ROW = re.compile(r"^\| `(?P<gold>.+?)` \| `(?P<answer>.+?)` \| (?P<verdict>\w+) \|$", re.MULTILINE)
EXAMPLES = [(match["gold"], match["answer"], match["verdict"]) for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("gold", "answer", "verdict"), EXAMPLES)
def test_an_example_of_the_page_holds(judge: Judge, gold: str, answer: str, verdict: str) -> None:
    assert judge.judge([rf"So \boxed{{{answer}}}."], [gold])[0].value == verdict


def test_the_page_has_an_example_for_each_rule() -> None:
    sections = re.split(r"^## (?=\d)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert [section.split(".")[0] for section in sections] == [str(number + 1) for number in range(10)]
    assert all(ROW.search(section) for section in sections[1:])


def test_no_pair_of_different_values_is_right(judge: Judge) -> None:
    pairs = list(different(of_each_kind=170, seed=0))
    assert len(pairs) >= 3000
    verdicts = judge.judge([rf"\boxed{{{answer}}}" for _, _, answer in pairs], [gold for _, gold, _ in pairs])
    assert [
        pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict in (Verdict.CORRECT, Verdict.TIMED_OUT)
    ] == []


def test_at_least_995_of_1000_pairs_of_one_value_are_right(judge: Judge) -> None:
    pairs = list(same(of_each_kind=220, seed=0))
    assert len(pairs) >= 3000
    verdicts = judge.judge([rf"\boxed{{{answer}}}" for _, _, answer in pairs], [gold for _, gold, _ in pairs])
    missed = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is not Verdict.CORRECT]
    assert len(missed) <= 0.005 * len(pairs), missed
