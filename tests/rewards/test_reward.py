"""Each reward term and their sum, with numbers worked out by hand."""

from collections.abc import Sequence

import pytest

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.format import FormatTerm
from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.rewards.language import LanguageTerm, foreign_share
from vlm_rl.rewards.length import LengthTerm, TruncationTerm
from vlm_rl.rewards.random_score import RandomTerm
from vlm_rl.rewards.reward import Reward, WeightedTerm
from vlm_rl.types import Response


def response(text: str, *, finish_reason: str = "stop", num_tokens: int = 10) -> Response:
    return Response(text=text, finish_reason=finish_reason, num_tokens=num_tokens)


def row(answer: str, *, id: str = "row") -> Row:
    return Row(id=id, question="How much?", answer=answer, solution=None, images=())


class CountingJudge(Judge):
    calls = 0

    def judge(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        self.calls += 1
        return super().judge(responses, golds)


def counting_judge() -> CountingJudge:
    return CountingJudge(num_workers=1, timeout_s=1.0)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("The angle is 30.", 0.0),
        ("ab 角度", 0.5),  # two Latin letters, two Chinese
        ("角度", 1.0),
        ("abc д", 0.25),
        ("αβγ + π = 3°", 0.0),  # Greek is mathematics
        ("𝑥 ∈ ℝ, ℓ ≤ 5 ± 2", 0.0),  # mathematical letters are letters of no language
        ("é ñ ß", 0.0),  # Latin with marks
        (r"\frac{1}{2} 角", 1.0),  # a LaTeX command is no English word
        ("123 + 4", 0.0),  # no letters, no foreign ones
        ("", 0.0),
    ],
)
def test_the_language_penalty_is_the_share_of_foreign_letters(text: str, share: float) -> None:
    assert foreign_share(text) == share
    assert LanguageTerm()([response(text)], [row("1")]) == [-share]


@pytest.mark.parametrize(
    ("text", "finish_reason", "score"),
    [
        (r"So \boxed{wrong}", "stop", 1.0),  # the form, not the answer
        (r"So \boxed{20}", "length", 0.0),  # cut off
        (r"So \boxed{ }", "stop", 0.0),
        (r"So \boxed{20", "stop", 0.0),
        ("So 20", "stop", 0.0),
    ],
)
def test_format_is_a_boxed_answer_in_a_terminated_response(text: str, finish_reason: str, score: float) -> None:
    assert FormatTerm()([response(text, finish_reason=finish_reason)], [row("20")]) == [score]


@pytest.mark.parametrize(("length", "penalty"), [(10, 0.0), (60, 0.0), (70, -0.25), (80, -0.5), (100, -1.0), (120, -1.0)])
def test_the_length_penalty_falls_over_the_buffer(length: int, penalty: float) -> None:
    term = LengthTerm(max_length=100, buffer_share=0.4)
    assert term([response("", num_tokens=length)], [row("1")]) == [penalty]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_buffer_that_is_no_share_of_the_response_is_refused_with_a_fix(share: float) -> None:
    with pytest.raises(ValueError, match=r"as reward\.terms\.length\.term\.buffer_share=0\.2"):
        LengthTerm(max_length=16, buffer_share=share)


def test_only_truncated_responses_get_the_truncated_score() -> None:
    responses = [response("a"), response("b", finish_reason="length")]
    assert TruncationTerm(truncated_score=-0.1)(responses, [row("1")] * 2) == [0.0, -0.1]


def test_the_random_reward_is_a_fair_coin_that_depends_on_seed_row_and_text_alone() -> None:
    responses = [response(f"text {number}") for number in range(2000)]
    rows = [row("1")] * 2000
    scores = RandomTerm(seed=1)(responses, rows)
    assert scores == RandomTerm(seed=1)(responses, rows)
    assert scores[::-1] == RandomTerm(seed=1)(responses[::-1], rows)
    assert set(scores) == {0.0, 1.0}
    assert 900 < sum(scores) < 1100
    assert scores != RandomTerm(seed=2)(responses, rows)
    assert scores != RandomTerm(seed=1)(responses, [row("1", id="other")] * 2000)


def test_the_reward_is_the_weighted_sum_and_keeps_each_term() -> None:
    terms = {"a": WeightedTerm(term=LanguageTerm(), weight=0.5), "b": WeightedTerm(term=FormatTerm(), weight=0.1)}
    reward = Reward(judge=counting_judge(), accuracy_weight=2.0, terms=terms)
    scores = reward([response(r"ab 角度 \boxed{20}"), response("角"), response(r"\boxed{21}")], [row("20")] * 3)
    assert scores.terms == {"accuracy": [1.0, 0.0, 0.0], "language": [-0.5, -1.0, 0.0], "format": [1.0, 0.0, 1.0]}
    assert scores.total == pytest.approx([2.0 - 0.25 + 0.1, -0.5, 0.1])
    assert scores.verdicts == [Verdict.CORRECT, Verdict.UNPARSABLE, Verdict.WRONG]


def test_accuracy_is_judged_once_and_reported_where_it_earns_nothing() -> None:
    judge = counting_judge()
    reward = Reward(judge=judge, accuracy_weight=0.0, terms={"random": WeightedTerm(term=RandomTerm(seed=0), weight=1.0)})
    scores = reward([response(r"\boxed{20}")] * 4, [row("20", id=str(number)) for number in range(4)])
    assert judge.calls == 1
    assert scores.terms["accuracy"] == [1.0] * 4
    assert scores.total == scores.terms["random"]


def test_two_terms_of_one_name_are_refused() -> None:
    terms = {key: WeightedTerm(term=FormatTerm(), weight=1.0) for key in ("format", "again")}
    with pytest.raises(ValueError, match=r"reward\.terms\.again"):
        Reward(judge=counting_judge(), accuracy_weight=1.0, terms=terms)
