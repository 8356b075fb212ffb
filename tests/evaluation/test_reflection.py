import functools
import itertools
import math
import operator

import pytest

from vlm_rl.evaluation.reflection import (
    PAPER_REFLECTION_WORDS,
    REFLECTION_RATIOS,
    ReflectionRule,
    Substrings,
    WholeWords,
    count_reflection,
    no_reflection_counts,
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


def test_the_paper_has_fifteen_words_and_both_rules_are_rules() -> None:
    assert len(PAPER_REFLECTION_WORDS) == len(set(PAPER_REFLECTION_WORDS)) == 15
    assert isinstance(WholeWords(), ReflectionRule)
    assert isinstance(Substrings(), ReflectionRule)


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


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2), (0, 6), (1, 2, 3, 4, 5)])
def test_counts_of_any_sharding_pool_to_those_of_the_whole(cuts: tuple[int, ...]) -> None:
    edges = [0, *cuts, len(TEXTS)]
    shards = [slice(start, end) for start, end in itertools.pairwise(edges)]
    counts = [count_reflection(TEXTS[shard], correct=CORRECT[shard], rule=WholeWords()) for shard in shards]
    pooled = functools.reduce(operator.add, counts, no_reflection_counts(WholeWords()))
    assert pooled == count_reflection(TEXTS, correct=CORRECT, rule=WholeWords())


def test_an_undefined_ratio_is_missing_and_not_zero() -> None:
    ratios = count_reflection(["plain"], correct=[True], rule=WholeWords()).ratios()
    assert ratios["reflection_ratio"] == 0.0
    assert math.isnan(ratios["correct_ratio_in_reflection_texts"])
    assert math.isnan(ratios["reflection_ratio_in_incorrect_answers"])
    assert all(map(math.isnan, no_reflection_counts(WholeWords()).ratios().values()))


def test_counts_of_different_word_lists_are_not_pooled() -> None:
    with pytest.raises(ValueError, match="different word lists"):
        no_reflection_counts(WholeWords()) + no_reflection_counts(WholeWords(words=["hmm"]))
