r"""The judge's rules: every case of judge_cases.tsv and of docs/judge.md has its verdict, and so have pairs made from templates."""

import re
from pathlib import Path

import pytest
from answer_templates import pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm_rl.rewards.judge import Judge, Verdict

C, W, U = Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE
PAGE = (Path(__file__).parents[2] / "docs" / "judge.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<gold>.+?)` \| `(?P<answer>.+?)` \| (?P<verdict>\w+) \|$", re.MULTILINE)
FILE = Path(__file__).with_name("judge_cases.tsv").read_text(encoding="utf-8")
CASES = [tuple(line.split("\t")[:3]) for line in FILE.splitlines() if not line.startswith("# ")]
ODD = [
    ("20", " 20\n", "correct"),
    ("20", "", "unparsable"),
    ("", "20", "unparsable"),  # an empty gold equals nothing
    ("", "", "unparsable"),  # two empty texts are not equal
    (r"\boxed{}", "", "unparsable"),
    ("20", "1" + " " * 5000 + "20", "wrong"),  # too long to be an answer
    ("20", "1+" * 200 + "1", "wrong"),
]


@pytest.mark.slow
def test_every_case_has_its_verdict(judge: Judge) -> None:
    cases = [*CASES, *ROW.findall(PAGE), *ODD]
    assert len(cases) > 550
    verdicts = judge.judge([rf"We find \boxed{{{answer}}}." for _, answer, _ in cases], [gold for gold, _, _ in cases])
    assert [(*case, found.value) for case, found in zip(cases, verdicts, strict=True) if case[2] != found.value] == []


def test_the_page_has_an_example_for_each_rule() -> None:
    sections = re.split(r"^## (?=\d)", PAGE, flags=re.MULTILINE)[1:]
    assert [section.split(".")[0] for section in sections] == [str(number + 1) for number in range(10)]
    assert all(ROW.search(section) for section in sections[1:])


def judged(judge: Judge, answers: list[tuple[str, str]]) -> list[Verdict]:
    return judge.judge([rf"\boxed{{{answer}}}" for _, answer in answers], [gold for gold, _ in answers])


@pytest.mark.slow
def test_no_pair_of_different_values_is_right(judge: Judge) -> None:
    different = pairs("different_answers.txt", draws=4)
    assert len(different) > 1000
    verdicts = zip(different, judged(judge, different), strict=True)
    assert [pair for pair, verdict in verdicts if verdict not in (W, U)] == []


@pytest.mark.slow
def test_at_least_995_of_1000_pairs_of_one_value_are_right(judge: Judge) -> None:
    same = pairs("same_answers.txt", draws=4)
    assert len(same) > 1000
    missed = [pair for pair, verdict in zip(same, judged(judge, same), strict=True) if verdict is not C]
    assert len(missed) <= 0.005 * len(same), missed


def test_only_the_last_box_counts(judge: Judge) -> None:
    cases = [
        ("", "", U),  # paper.md: two texts without a box are equal in the authors' judge
        ("20", "20", U),
        ("The answer is 20.", "20", U),
        ("20", r"\boxed{20}", U),
        (r"\boxed{20} or \boxed{30}", "20", W),  # the last one counts
        (r"\boxed{30} no, \boxed{20}", "20", C),
        (r"\boxed{20} and then \boxed{2", "20", U),  # cut off
        (r"It is not 20. \boxed{30}", "20", W),  # the gold in the text does not help
    ]
    responses, golds, verdicts = zip(*cases, strict=True)
    assert judge.judge(responses, golds) == [*verdicts]


def test_order_is_kept_when_some_answers_need_a_worker_and_others_do_not(judge: Judge) -> None:
    answers = ["4", r"\sqrt{25}", "", "2^2", "5", r"\sqrt{16}"]
    assert judged(judge, [("4", answer) for answer in answers]) == [C, W, U, C, W, C]


def test_plain_numbers_start_no_process() -> None:
    judge = Judge(num_workers=1, timeout_s=1.0)
    assert judge.judge([r"\boxed{x = 0.50 \text{ cm}}"], [r"\frac{1}{2}"]) == [C]
    assert judge._pool.num_alive == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="2 responses but 1 golds"):
        Judge(num_workers=1, timeout_s=1.0).judge(["a", "b"], ["1"])
    with pytest.raises(ValueError, match=r"reward\.judge\.num_workers"):
        Judge(num_workers=0, timeout_s=1.0)


LATEX = st.text(alphabet=r"0123456789.,/\{}()[]$^_=+-%° abcxyzfractqpi", max_size=60)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(response=st.one_of(st.text(max_size=60), LATEX.map(lambda text: rf"\boxed{{{text}}}")), gold=LATEX)
def test_no_text_makes_the_judge_raise(judge: Judge, response: str, gold: str) -> None:
    assert isinstance(judge.judge([response], [gold])[0], Verdict)


@settings(max_examples=100, deadline=None)
@given(number=st.fractions(max_denominator=10**6), other=st.fractions(max_denominator=10**6))
def test_fractions_are_equal_exactly_when_they_are(number: object, other: object) -> None:
    verdict = Judge(num_workers=1, timeout_s=1.0).judge([rf"\boxed{{{number}}}"], [str(other)])
    assert verdict == [C if number == other else W]
