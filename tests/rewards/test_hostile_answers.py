r"""Texts that nobody should have to read: none hangs, none crashes, none is right that is not the gold."""

import random
import time

import pytest

from vlm_rl.rewards.answers import read_answer
from vlm_rl.rewards.comparison import verdict
from vlm_rl.rewards.judge import Judge, Verdict

PIECES = (
    r"\frac \sqrt \left \right ( ) [ ] { } ^ _ + - * / = < > , ; : . ' | \pi \alpha \circ \text \mathrm \begin{pmatrix} \end{pmatrix} "
    r"\\ & 1 2 30 0.5 x y AB cm m \cdot \times \pm \infty \cup or and \le \ge % ° \log \sin ! $ ~ \, 1,234 4:30 10-20 May degrees "
    r"km/h \{ \} A. (B) \overline \vec 2021-05-03 e i 10^{-5} √ ² \to"
)
GOLDS = [
    "20",
    r"\sqrt{2}",
    "x+1",
    "3, 4",
    "isosceles",
    r"\alpha+\beta=90^\circ",
    "(3,4)",
    "10-20",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    "4:30",
]


def random_latex(*, count: int) -> list[str]:
    draw = random.Random(0)
    return [
        "".join(draw.choice(PIECES.split()) + draw.choice(["", " "]) for _ in range(draw.randint(3, 14))) for _ in range(count)
    ]


@pytest.mark.slow
def test_two_thousand_random_texts_take_seconds(judge: Judge) -> None:
    texts = random_latex(count=2_000)
    golds = [GOLDS[i % len(GOLDS)] for i in range(len(texts))]
    judge.judge([r"\boxed{\sqrt{9}}"], ["3"])
    start = time.monotonic()
    verdicts = judge.judge([rf"\boxed{{{text}}}" for text in texts], golds)
    assert time.monotonic() - start < 60  # 1 s on one core
    assert [text for text, verdict in zip(texts, verdicts, strict=True) if verdict is Verdict.TIMED_OUT] == []
    right = [(gold, text) for gold, text, verdict in zip(golds, texts, verdicts, strict=True) if verdict is Verdict.CORRECT]
    assert right == []  # three pieces and more are hardly ever one of ten golds


@pytest.mark.slow
def test_no_repetition_is_slow_to_read() -> None:
    """Any piece, and any piece followed by another, again and again: a pattern that backtracks would take minutes."""
    pieces = PIECES.split()
    draw = random.Random(0)
    pairs = [piece + draw.choice(pieces) for piece in pieces]
    start = time.process_time()
    for text, length in [*((piece, 2900) for piece in pieces), *((pair, 290) for pair in pairs)]:
        repeated = text * (length // len(text))
        for whole in (repeated, f"({repeated})", f"1{repeated}=", f"{repeated} cm"):
            read_answer(whole)
    assert time.process_time() - start < 60  # 2 s


def test_what_never_ends_is_read_at_once(judge: Judge) -> None:
    for text in (r"\frac" * 500, r"\sqrt" * 500, r"\text{" * 400, *(sign * 2000 for sign in "^_{([-")):
        verdicts = judge.judge([rf"\boxed{{{text}}}", rf"\boxed{{{text}20}}", r"\boxed{20}"], ["20", "20", text])
        assert Verdict.CORRECT not in verdicts


@pytest.mark.slow
def test_letters_of_any_script_in_another_case_are_compared() -> None:
    """Some are small in two characters, so that a text has more of them than it has in capitals."""
    draw = random.Random(0)
    letters = [chr(code) for code in range(0x20, 0x3000) if chr(code).isprintable()]
    for gold in ("ẍၰὖඡ", "എ♳\u0345", "İab c", *("".join(draw.choices(letters, k=8)) for _ in range(1_000))):
        for answer in (gold.upper(), gold.lower(), gold.casefold(), gold.title()):
            assert verdict(gold, answer, equal=lambda ours, theirs: False) in ("correct", "wrong", "unparsable")
