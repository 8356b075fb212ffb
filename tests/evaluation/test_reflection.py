import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlm_rl.evaluation.reflection import (
    PAPER_REFLECTION_WORDS,
    REFLECTION_RATIOS,
    ReflectionCounts,
    ReflectionRule,
    Substrings,
    WholeWords,
    pool_reflection,
    reflective_counts,
)


@pytest.mark.parametrize(
    ("text", "whole_words", "substrings"),
    [
        ("The waiter in Kuwait awaits the yeti.", {}, {"wait": 3, "yet": 1}),
        ("Wait, WAIT: wait", {"wait": 3}, {"wait": 3}),
        ("It is not yet done.", {"yet": 1}, {"yet": 1}),
        ("re-evaluating and waiting", {}, {"wait": 1}),
        ("I re-evaluate, reevaluate; the reevaluation", {"re-evaluate": 1, "reevaluate": 1, "reevaluation": 1}, None),
        ("Let me double-check.", {}, {}),
        ("Let me double-check again.", {}, {"check again": 1}),
        ("Check again.", {"check again": 1}, {"check again": 1}),
        ("check\n  again", {"check again": 1}, {}),
        ("re-check, recheck, re check", {"re-check": 1, "recheck": 1}, {"re-check": 1, "recheck": 1}),
        ("re\u2011check and re\u2010think", {"re-check": 1, "re-think": 1}, {}),
        ("re-verify, verify, verifying", {"verify": 1}, {"verify": 3}),
        ("a wait-list; wait--no; wait - no; wait\u2014no", {"wait": 3}, {"wait": 4}),
        ("wait_time = wait2", {}, {"wait": 2}),
        ("\\text{wait}, $yet$ 'verify'", {"wait": 1, "yet": 1, "verify": 1}, None),
        ("rechecking, prerecheck", {}, {"recheck": 2}),
        ("", {}, {}),
    ],
)
def test_whole_words_and_the_authors_substrings(
    text: str, whole_words: dict[str, int], substrings: dict[str, int] | None
) -> None:
    assert WholeWords().count(text) == whole_words
    assert Substrings().count(text) == (whole_words if substrings is None else substrings)


def count_reflection(
    texts: Sequence[str] | pa.ChunkedArray, *, correct: Sequence[bool], rule: ReflectionRule
) -> ReflectionCounts:
    return pool_reflection(reflective_counts(texts, rule=rule), correct=correct, rule=rule)


def test_editing_the_list_never_changes_the_count_of_another_word() -> None:
    text = "wait, wait again; Hold on, c++ wait"
    assert WholeWords(words=["wait"]).count(text) == {"wait": 3}
    assert WholeWords(words=["wait", "wait again", "Hold on"]).count(text) == {"wait": 3, "wait again": 1, "hold on": 1}


TEXTS = ["wait, let me verify", "so the answer is 3", "yet wait", "plain", "verify", "plain too"]
CORRECT = [True, True, False, False, True, True]


def test_the_five_ratios_by_hand() -> None:
    counts = count_reflection(TEXTS, correct=CORRECT, rule=WholeWords())
    found = (counts.num_responses, counts.num_reflective, counts.num_correct, counts.num_reflective_correct)
    assert found == (6, 3, 4, 2)
    assert counts.ratios() == pytest.approx(dict(zip(REFLECTION_RATIOS, [3 / 6, 2 / 4, 1 / 2, 2 / 3, 2 / 3], strict=True)))
    assert counts.metrics()["reflection/word/wait"] == 2
    assert counts.metrics()["reflection/word/check_again"] == 0
    assert counts.metrics()["reflection/reflection_ratio"] == 0.5


def test_an_undefined_ratio_is_missing_and_not_zero() -> None:
    ratios = count_reflection(["plain"], correct=[True], rule=WholeWords()).ratios()
    assert ratios["reflection_ratio"] == 0.0
    assert math.isnan(ratios["correct_ratio_in_reflection_texts"])
    assert math.isnan(ratios["reflection_ratio_in_incorrect_answers"])
    assert all(map(math.isnan, count_reflection([], correct=[], rule=WholeWords()).ratios().values()))


# (text, right?, what the function that the authors published counts in it). The counts are facts, found by running their
# log_reflection_analysis (GAIR-NLP/MAYE, recipes/full_ppo_vllm_distributed.py, commit af35b9a) on these texts.
AUTHORS_TABLE: tuple[tuple[str, bool, dict[str, int]], ...] = (
    ("So AC = 12. \\boxed{12}", True, {}),
    ("Wait, that is wrong. WAIT. wait", False, {"wait": 3}),
    ("The waiter in Kuwait awaits us.", True, {"wait": 3}),
    ("Not yet; the yeti is not there yet.", False, {"yet": 3}),
    ("Let me re-check and recheck it.", True, {"re-check": 1, "recheck": 1}),
    ("I re-evaluate, reevaluate, in a reevaluation.", True, {"re-evaluate": 1, "reevaluate": 1, "reevaluation": 1}),
    ("re-evaluating, reevaluations, reexamined", False, {"reevaluation": 1, "reexamine": 1}),
    ("re-examine this, then reexamine that", True, {"re-examine": 1, "reexamine": 1}),
    ("RE-THINK or Rethink or rethinking", False, {"re-think": 1, "rethink": 2}),
    ("Let me double-check again.", True, {"check again": 1}),
    ("Check  again", True, {}),
    ("check\nagain, think\nagain", True, {}),
    ("Think again, try again, check again: try again!", False, {"think again": 1, "try again": 2, "check again": 1}),
    ("We verify it, verifying nothing: re-verify.", True, {"verify": 3}),
    ("verified and verification", True, {}),
    ("re\u2011check with a non-breaking hyphen", True, {}),
    ("retry again and re-check again", False, {"try again": 1, "re-check": 1, "check again": 1}),
    ("waityet", True, {"wait": 1, "yet": 1}),
    ("WA\u0130T is no wait", False, {"wait": 1}),
    ("", False, {}),
)


def test_the_substring_rule_counts_what_the_authors_function_counts() -> None:
    texts, correct, expected = zip(*AUTHORS_TABLE, strict=True)
    assert [Substrings().count(text) for text in texts] == list(expected)
    counts = count_reflection(texts, correct=correct, rule=Substrings())
    assert list(counts.ratios().values()) == pytest.approx([14 / 20, 7 / 12, 7 / 8, 7 / 14, 5 / 6])
    assert counts.word_counts["wait"] == 8
    assert sum(counts.word_counts.values()) == 35


SPELLINGS = [
    *PAPER_REFLECTION_WORDS,
    "wa\u0130t",
    "chec\u212a again",
    "CHECK\u00a0\n again",
    "re\u2010Check",
    "re\u2011think",
    "i\u0307x",
]
SPELLINGS += ["\u03bb\u03cc\u03b3\u03bf\u03c2", "\u039b\u038c\u0393\u039f\u03a3"]
PIECES = st.one_of(
    st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS).map(str.upper), st.text(max_size=3), st.sampled_from(" -\n_.")
)
TEXT = (
    st.lists(PIECES, max_size=6)
    .map("".join)
    .filter(lambda text: text.isascii() or text.encode(errors="ignore").decode() == text)
)
WORD_LISTS = st.sampled_from(
    [PAPER_REFLECTION_WORDS, ("i\u0307x", "\u03bb\u03cc\u03b3\u03bf\u03c2", "K"), ("c++", "a\tb", "."), ()]
)


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(TEXT, max_size=5), words=WORD_LISTS)
@example(texts=["\u0130x", "\u039b\u038c\u0393\u039f\u03a3"], words=("i\u0307x", "\u03bb\u03cc\u03b3\u03bf\u03c2"))
@example(texts=["", "CHEC\u212a\x85aGain", "re\u2011re-check", "re\u2011check"], words=PAPER_REFLECTION_WORDS)
def test_a_column_of_texts_is_counted_exactly_as_text_by_text(texts: list[str], words: tuple[str, ...]) -> None:
    column = pa.chunked_array([pa.array(texts[:2], pa.string()), pa.array(texts[2:], pa.string())])
    for rule in (WholeWords(words=words), Substrings(words=words)):
        found = {place: rule.count(text) for place, text in enumerate(texts) if rule.count(text)}
        assert reflective_counts(column, rule=rule) == found
        assert reflective_counts(texts, rule=rule) == found


def test_a_column_with_missing_and_broken_texts_is_counted_all_the_same() -> None:
    broken = pa.array([b"wait \xff\xfe wait", b"\xc3(", None, b"yet"], pa.binary()).view(pa.string())
    counts = count_reflection(pa.chunked_array([broken]), correct=np.array([True, False, False, True]), rule=WholeWords())
    assert counts.word_counts["wait"] == 2
    assert (counts.num_responses, counts.num_reflective, counts.num_reflective_correct) == (4, 2, 2)


def test_only_the_texts_with_a_candidate_reach_the_rule() -> None:
    class Counting(WholeWords):
        def count(self, text: str) -> dict[str, int]:
            assert "ait" in text
            return super().count(text)

    column = pa.chunked_array([["plain text"] * 100 + ["Wait!", "the waiter"]])
    assert reflective_counts(column, rule=Counting()) == {100: {"wait": 1}}
