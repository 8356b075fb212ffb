r"""The judge's rules as a table: gold, content of `\boxed{}`, verdict, and why."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm_rl.rewards.judge import Judge, Verdict

C, W, U, T = Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE, Verdict.TIMED_OUT

PLAIN = [
    ("20", "20", C, "the same text"),
    (r"\boxed{20}", "20", C, "a gold may be boxed"),
    ("$20$", "20", C, "a gold may be LaTeX"),
    ("20", "20.0", C, "trailing zeros say nothing"),
    ("20", "20.", C, "a final full stop"),
    ("20", "$20$", C, "dollars"),
    ("20", r"\text{20}", C, "text wrapper"),
    ("20", r"\mathrm{20}", C, "font"),
    ("20", r"\left(20\right)", C, "brackets around one number"),
    ("20", r"\boxed{20}", C, "a box in a box"),
    ("20", " 20\n", C, "spaces"),
    ("20", "+20", C, "a plus sign"),
    ("-20", "\u221220", C, "Unicode minus"),
    ("20", "-20", W, "a minus sign"),
    ("7", "007", C, "leading zeros"),
    ("0", "-0", C, "there is one zero"),
    (".5", "0.5", C, "no leading zero"),
    ("0.5", "1/2", C, "exact fractions"),
    ("0.5", r"\frac{1}{2}", C, "exact fractions"),
    ("0.5", r"\dfrac{1}{2}", C, "display fraction"),
    ("0.5", r"\frac12", C, "braces left out"),
    ("-0.5", r"-\frac{1}{2}", C, "sign before the fraction"),
    ("-0.5", r"\frac{-1}{2}", C, "sign inside the fraction"),
    ("2.5", r"2\frac{1}{2}", C, "mixed number"),
    ("-2.5", r"-2\frac{1}{2}", C, "a mixed number's sign belongs to all of it"),
    ("2.5", "2 1/2", C, "mixed number on one line"),
    ("20", r"\frac{40}{2}", C, "a fraction not reduced"),
    ("1/3", "0.333333", W, "no tolerance between plain numbers"),
    ("0.3333", r"\frac{1}{3}", W, "no tolerance between plain numbers"),
    ("3.14159", "3.14", W, "no tolerance between plain numbers"),
    ("0", "0.0000001", W, "no tolerance near zero"),
    ("1500", r"1.5 \times 10^{3}", C, "scientific notation"),
    ("1500", "1.5e3", C, "scientific notation"),
    ("1234", "1,234", C, "thousands separator"),
    ("1,234.5", "1234.5", C, "thousands separator in the gold"),
    ("1234", "1{,}234", C, "LaTeX thousands separator"),
    ("1234", r"1\,234", C, "thin space"),
    ("1234567", "1,234,567", C, "two separators"),
    ("1234", "12,34", W, "not a thousands separator: a list"),
    ("3.5", "3,5", W, "not a decimal comma: a list"),
    ("20", "２０", C, "full-width digits"),
    ("20", r"5 \times 4", C, "arithmetic goes to math-verify"),
    ("20", "--20", C, "arithmetic goes to math-verify"),
    ("20", "21", W, "one off"),
    ("20", "x", W, "a letter"),
    ("20", r"\frac{20}{0}", W, "no number"),
]
UNITS = [
    ("35", r"35^\circ", C, "field.md: decided: a unit on one side is ignored"),
    ("35", r"35^{\circ}", C, "degrees"),
    ("35", "35°", C, "degrees"),
    ("35", r"35\degree", C, "degrees"),
    ("35", "35 degrees", C, "degrees"),
    (r"35^\circ", "35", C, "degrees in the gold only"),
    (r"35^\circ", "35 degrees", C, "one unit, two spellings"),
    (r"35^\circ", r"35 \text{ cm}", W, "two different units"),
    ("35", r"180^\circ - 145^\circ", C, "degrees inside"),
    (r"\frac{\sqrt{3}}{2}", r"\sin 60^\circ", C, "sin takes degrees where it says so"),
    ("50", "50%", C, "field.md: decided: per cent is a unit"),
    ("50", r"50\%", C, "per cent"),
    ("50%", "50 percent", C, "per cent"),
    ("50%", "50", C, "per cent in the gold only"),
    ("50%", "0.5", W, "nothing is converted"),
    ("0.5", r"50\%", W, "nothing is converted"),
    ("72", r"72\,\mathrm{cm}^{2}", C, "area"),
    ("72", "72 cm²", C, "area"),
    ("72 cm^2", "72 square centimeters", C, "one unit, two spellings"),
    ("72 cm^2", "72 cm", W, "an area is no length"),
    ("5 m", "500 cm", W, "nothing is converted"),
    ("5", "5cm", C, "two letters glued are a unit"),
    ("5", "5 m", C, "one letter after a space is a unit"),
    ("5", r"5\text{m}", C, "one letter in text is a unit"),
    ("5", "5m", W, "one letter glued may be algebra"),
    ("5m", "5", W, "one letter glued may be algebra"),
    ("5", "5 units", C, "no unit at all"),
    ("5 cm", "5 square units", C, "no unit at all"),
    ("60", "60 km/h", C, "speed"),
    ("60 km/h", "60 km per hour", C, "speed"),
    ("5", r"\$5", C, "currency"),
    (r"25\pi", r"25\pi \text{ cm}^2", C, "unit after an expression"),
    ("35", r"^\circ", U, "a unit alone is no answer"),
]
NAMES = [
    ("3", "x=3", C, "field.md: decided: a name says nothing more"),
    ("3", "3 = x", C, "either way round"),
    ("x=3", "3", C, "a name in the gold only"),
    ("x=3", "x = 3.0", C, "the same name"),
    ("x=3", "y=3", W, "another name"),
    ("3", "BC = 2 + 1 = 3", C, "a chain is worth its last member"),
    ("3", "2 + 1 = 3", C, "a chain is worth its last member"),
    ("2", "BC = 2 + 1 = 3", W, "a chain is worth its last member"),
    ("12", r"\text{Area} = 12", C, "a word as name"),
    ("35", r"m\angle ABC = 35^\circ", C, "the measure of an angle"),
    ("35", r"x \approx 35", C, "approximately equal"),
    ("5", "x_1 = 5", C, "an index"),
    ("1", "x^2 + y^2 = 1", W, "an equation is no value"),
    ("x^2+y^2=1", "y^2+x^2=1", C, "the same equation"),
    ("x^2+y^2=1", "1", W, "a value is no equation"),
    ("20", "x < 20", W, "an inequality is no value"),
]
CHOICES = [
    ("20", "3 or 20", W, "Visual-RFT #79: a choice is not an answer"),
    ("20", r"3 \text{ or } 20", W, "a choice"),
    ("20", "3 and 20", W, "a choice"),
    ("20", "3, 20", W, "a list"),
    ("20", "3; 20", W, "a list"),
    ("20", "3 20", W, "a list without commas"),
    ("20", r"3 \quad 20", W, "a list without commas"),
    ("20", r"3 \\ 20", W, "a list over two lines"),
    ("20", "$3$ or $20$", W, "a choice in dollars"),
    ("5", "x = 5 or x = 6", W, "a choice with names"),
    ("20", r"\pm 20", W, "two numbers"),
    ("20", "(20, 30)", W, "a point"),
    ("20", "[20,20]", W, "an interval"),
    ("3, 4", "3, 4", C, "the gold is a list"),
    ("3, 4", "4, 3", C, "in any order"),
    ("3, 4", "3 or 4", C, "the same parts"),
    ("3, 4", "3", W, "a part is missing"),
    ("3, 4", "3, 4, 5", W, "a part too many"),
    ("3, 3", "3, 4", W, "parts count"),
    ("(3,4)", "(3, 4)", C, "a point"),
    ("(3,4)", "(4,3)", W, "a point has an order"),
    (r"\sqrt{2}, \sqrt{3}", r"\sqrt{3}, \sqrt{2}", C, "a list of expressions"),
    ("A", "A or B or C", W, "Visual-RFT #79"),
    ("A", "A", C, "a letter"),
    ("A", "B", W, "another letter"),
    ("isosceles", r"\text{Isosceles}", C, "words, without regard to case"),
    ("isosceles", "scalene", W, "other words"),
    ("20", "the answer is 20", W, "words are no number"),
    ("20", "answer: [20] 1000", W, "no search for numbers in prose"),
]
SYMBOLIC = [
    (r"2\sqrt{3}", r"\sqrt{12}", C, "the same number"),
    (r"2\sqrt{3}", r"2\sqrt3", C, "braces left out"),
    (r"\sqrt{2}", "√2", C, "Unicode"),
    (r"\sqrt{2}", "sqrt(2)", C, "program style"),
    (r"\sqrt{2}", "1.414214", C, "agrees to six decimals"),
    (r"\sqrt{2}", "1.41", W, "does not"),
    (r"6\sqrt{2}", r"\frac{12}{\sqrt{2}}", C, "the same number"),
    ("4", r"\sqrt{16}", C, "the same number"),
    ("8", "2^3", C, "paper.md: exponents count"),
    ("8", "2^{4}", W, "paper.md: exponents count"),
    ("x^2", "x^3", W, "paper.md: exponents count"),
    (r"25\pi", "25π", C, "Unicode"),
    ("x+1", "1+x", C, "order of a sum"),
    ("90-x", r"90^\circ - x^\circ", C, "degrees inside"),
    ("20", "|-20|", C, "absolute value"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", W, "a vector has an order"),
]
EMPTY = [
    ("20", "", U, "an empty box"),
    ("20", r"\text{ }", U, "an empty text"),
    ("20", "$$", U, "empty mathematics"),
    ("", "20", U, "an empty gold equals nothing"),
    ("", "", U, "two empty texts are not equal"),
    (r"\boxed{}", "", U, "two empty boxes are not equal"),
    ("???", "20", U, "a fine-tuning cookbook #335: an unreadable gold gives no reward"),
    (r"\frac{", r"\frac{1}{2}", U, "an unreadable gold"),
    ("20", "(20", U, "no mathematics"),
    ("20", "1" + " " * 5000 + "20", W, "too long to be an answer"),
    ("20", "1+" * 200 + "1", W, "too long to be an answer"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict", "reason"), [*PLAIN, *UNITS, *NAMES, *CHOICES, *SYMBOLIC, *EMPTY])
def test_the_verdict_follows_the_rules(judge: Judge, gold: str, answer: str, verdict: Verdict, reason: str) -> None:
    assert judge.judge([rf"We find \boxed{{{answer}}}."], [gold]) == [verdict], reason


@pytest.mark.parametrize(
    ("response", "gold", "verdict"),
    [
        ("", "", U),  # paper.md: two texts without a box are equal in the authors' judge
        ("20", "20", U),
        ("The answer is 20.", "20", U),
        ("20", r"\boxed{20}", U),
        (r"\boxed{20} or \boxed{30}", "20", W),  # the last one counts
        (r"\boxed{30} no, \boxed{20}", "20", C),
        (r"\boxed{20} and then \boxed{2", "20", U),  # cut off
        (r"It is not 20. \boxed{30}", "20", W),  # the gold in the text does not help
    ],
)
def test_only_the_last_box_counts(judge: Judge, response: str, gold: str, verdict: Verdict) -> None:
    assert judge.judge([response], [gold]) == [verdict]


def test_order_is_kept_when_some_answers_need_a_worker_and_others_do_not(judge: Judge) -> None:
    answers = ["4", r"\sqrt{25}", "", "2^2", "5", r"\sqrt{16}"]
    verdicts = judge.judge([rf"\boxed{{{answer}}}" for answer in answers], ["4"] * 6)
    assert verdicts == [C, W, U, C, W, C]


def test_plain_numbers_start_no_process() -> None:
    judge = Judge(num_workers=1, timeout_s=1.0)
    assert judge.judge([r"\boxed{x = 0.50 \text{ cm}}"], [r"\frac{1}{2}"]) == [C]
    assert not judge._pool.is_started


def test_responses_and_golds_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 responses but 1 golds"):
        Judge(num_workers=1, timeout_s=1.0).judge(["a", "b"], ["1"])


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reward\.judge\.num_workers"):
        Judge(num_workers=0, timeout_s=1.0)


LATEX = st.text(alphabet=r"0123456789.,/\{}()[]$^_=+-%° abcxyzfractqpi", max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(response=st.one_of(st.text(max_size=60), LATEX.map(lambda text: rf"\boxed{{{text}}}")), gold=LATEX)
def test_no_text_makes_the_judge_raise(judge: Judge, response: str, gold: str) -> None:
    assert isinstance(judge.judge([response], [gold])[0], Verdict)


@settings(max_examples=300, deadline=None)
@given(number=st.fractions(max_denominator=10**6), other=st.fractions(max_denominator=10**6))
def test_fractions_are_equal_exactly_when_they_are(number: object, other: object) -> None:
    verdict = Judge(num_workers=1, timeout_s=1.0).judge([rf"\boxed{{{number}}}"], [str(other)])
    assert verdict == [C if number == other else W]
