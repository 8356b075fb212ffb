"""A gold is cut out of a longer answer column, and the order of a list may count."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from row_files import OWN, source_of

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.gold_rules import AnswerPattern, GoldRules
from vlm_rl.datasets.hub import HubSource, TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import BadRow

GSM8K = r"####\s*(.+)"
TAGS = r"<answer>\s*(.*?)\s*</answer>"


@pytest.mark.parametrize(
    ("pattern", "text", "gold"),
    [
        (GSM8K, "2 + 3 = <<2+3=5>>5\n#### 5", "5"),
        (GSM8K, "#### 4 is wrong.\n#### 1,000", "1,000"),
        (TAGS, "<think>it</think><answer> 3/4\n</answer>", "3/4"),
        (TAGS, "<answer>1</answer> no: <answer>2</answer><answer></answer>", "2"),
        (r"(?s)<answer>(.*?)</answer>", "<answer>1,\n2</answer>", "1,\n2"),
        (r"(?P<unit>\w+): (?P<answer>\d+)", "cm: 5", "5"),
        (r"(\w+): (\d+)", "cm: 5", "cm"),
        (r"-?\d+", "from 3 to -5.", "-5"),
        (r".*", "all of it", "all of it"),
        (r"\\boxed\{(.*)\}", r"so \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"(?:a|(b))", "b a", "b"),
        (r"(-?\d+(?:,\d{3})*(?:\.\d+)?)", "1,234.5 of 2,000", "2,000"),
        (r"(\d+(?:\s*,\s*\d+)*)$", "they are 1, 2,3", "1, 2,3"),
        (r"(?i)answer is (?:\w+\s+)*(\d+)", "The Answer is the number 7", "7"),
    ],
)
def test_the_last_match_is_the_gold(pattern: str, text: str, gold: str) -> None:
    assert AnswerPattern(pattern).cut(text, place="here") == gold


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_rows_of_a_source_are_cut(tmp_path: Path, kind: str) -> None:
    columns = Columns(question="question", answer="answer", images=None, id="id")
    answers = ["so\n#### 5", "no end", "####  ", "#### nan", "x" * 2_000 + "\n#### 6, 5"]
    items = [{"id": f"g{i}", "question": "Q", "answer": answer} for i, answer in enumerate(answers)]
    source = source_of(tmp_path, kind, items, columns=columns, answer_pattern=GSM8K, ordered_lists=True)
    survey = source.rows("train").survey()
    assert [(row.id, row.answer) for row in survey.rows] == [("g0", "5"), ("g4", r"\ordered{6, 5}")]
    no_end, blank, missing = survey.problems
    fix = "finds no answer (the last 1,000 characters are searched). Correct the pattern, or drop the row."
    assert rf"(id 'g1'): 'answer' ends in 'no end', where dataset.source.answer_pattern='####\\s*(.+)' {fix}" in no_end
    assert "(id 'g2')" in blank
    assert "(id 'g3'): 'answer' says 'nan', which stands for a missing value. Fill it in, or drop the row." in missing


def test_a_number_is_cut_too_and_a_row_without_an_id_is_called_by_its_number(tmp_path: Path) -> None:
    items = [{"question": "Q", "answer": 12.5}, {"question": "Q", "answer": 3.0}]
    rows = source_of(tmp_path, "parquet", items, answer_pattern=r"\.([1-9])").rows("train")
    assert rows[0].answer == "5"
    assert ["(id 'train-1')" in problem for problem in rows.survey().problems] == [True]


def test_only_the_end_is_searched_and_it_is_no_start() -> None:
    pattern = AnswerPattern(r"^(\w)")
    assert pattern.cut("a" * 1_000, place="here") == "a"
    with pytest.raises(ValueError, match="finds no answer"):
        pattern.cut("a" * 1_001, place="here")


@pytest.mark.parametrize("pattern", ["(", "*", "(?P<answer>", "[a", r"\8", "(?<=a*b)c)", "x{99999999999999999999}"])
def test_what_is_no_expression_is_refused_with_the_key(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"dataset\.source\.answer_pattern=.* is no regular expression: "):
        AnswerPattern(pattern)


@pytest.mark.parametrize("source", [JsonlSource, TableSource, HubSource])
def test_every_source_checks_its_pattern(source: type[Any]) -> None:
    places = {"path": ".", "splits": {}} if source is HubSource else {"folder": ".", "files": {}}
    with pytest.raises(ValueError, match=r"dataset\.source\.answer_pattern"):
        source(**places, columns=OWN, answer_pattern="(")


@pytest.mark.slow
def test_a_pattern_that_may_hang_is_refused_at_once_or_stays_fast() -> None:
    """The library guards some of them by itself; none takes the years that `re` would."""
    texts = ("a" * 2_000 + "!", "0" * 2_000, "ab" * 1_000, "<answer>" + " " * 2_000, "####" + "1" * 2_000)
    for pattern in (
        r"(a+)+$", r"(.*)*x", r"(\w+\s?)*$", r"(a|a)*$", r"(x+x+)+y", r"(.*a){20}", r"####\s*((\d+)+)$",
        r"<answer>(\s*.*\s*)*</answer>", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(\d|\d\d)+\.$", r"((a|b|ab)*)c$",
    ):  # fmt: skip
        began, told = time.process_time(), []
        try:
            kept = AnswerPattern(pattern)
            for text in texts:
                with contextlib.suppress(BadRow):
                    told.append(kept.cut(text, place="here"))
        except ValueError as error:
            told.append(str(error))
        assert all(len(text) <= 1_000 or "takes more than 1 s" in text for text in told)
        assert time.process_time() - began < 15


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [r"(a|aa)+$", r"(?:0|00)+x", r"####(1|1)*!"])
def test_a_pattern_whose_time_doubles_with_each_character_is_refused(pattern: str) -> None:
    told = r"takes more than 1 s for a text that it meets\. Write it without a repetition inside"
    with pytest.raises(ValueError, match=told):
        AnswerPattern(pattern)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("3, 1, 2", r"\ordered{3, 1, 2}"),
        ("3;1;2", r"\ordered{3;1;2}"),
        ("$3$, $1$", r"\ordered{3, 1}"),
        (r"\(3, 1, 2\)", r"\ordered{3, 1, 2}"),
        (r"(1, 2), (3, 4)", r"\ordered{(1, 2), (3, 4)}"),
        (r"\frac{1}{2}, \sqrt{3}", r"\ordered{\frac{1}{2}, \sqrt{3}}"),
        ("1,234, 5", r"\ordered{1,234, 5}"),
        ("B, A, C", r"\ordered{B, A, C}"),
        (r"\$3, \$1", r"\ordered{\$3, \$1}"),
        *((same, same) for same in ("5", "1,234", "-1,234,567.5 cm", r"\$1,000", "(3, 1, 2)", "[1, 2)", "f(1, 2)", "3,", ";")),
        *((same, same) for same in (r"\{1, 2\}", r"\left(3, 1\right)", r"\ordered{3, 1}", r"1\,234", r"1{,}234", "3 or 4", "$5$")),
        (r"\langle 1, 2 \rangle", r"\langle 1, 2 \rangle"),
    ],
)  # fmt: skip
def test_a_list_becomes_an_ordered_one_where_its_order_counts(answer: str, gold: str) -> None:
    assert GoldRules(answer_pattern=None, ordered_lists=True).ordered(answer) == gold
    assert GoldRules(answer_pattern=None, ordered_lists=False).ordered(answer) == answer


@pytest.mark.parametrize("ordered", ["yes", 1, None])
def test_an_order_that_is_neither_true_nor_false_is_refused_with_the_key(ordered: object) -> None:
    with pytest.raises(ValueError, match=r"dataset\.source\.ordered_lists is .*; it is either true or false"):
        GoldRules.__init__.__wrapped__(
            object.__new__(GoldRules), answer_pattern=None, ordered_lists=ordered
        )  # past the type checker


@pytest.mark.parametrize("pattern", ["", 7, ["####"]])
def test_a_pattern_that_is_no_text_is_refused_with_the_key(pattern: object) -> None:
    with pytest.raises(ValueError, match=r"dataset\.source\.answer_pattern is .*, not a regular expression\. null takes"):
        AnswerPattern.__init__.__wrapped__(object.__new__(AnswerPattern), pattern)
