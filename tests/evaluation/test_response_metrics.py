"""Every quantity of a table of responses, against numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vlm_rl.evaluation.reflection import Substrings, WholeWords
from vlm_rl.evaluation.response_metrics import count_responses, training_metrics
from vlm_rl.rewards.foreign_letters import MAYBE_FOREIGN_RE2, _is_foreign, foreign_share, mean_foreign_share

FOUR = {
    "response": ["Wait, I verify: 5.", "The waiter says 7.", "не 9, wait", "No box."],
    "accuracy": [1.0, 1.0, 0.0, None],  # the last one was not judged
    "verdict": ["correct", "correct", "wrong", "timed_out"],
    "finish_reason": ["stop", "length", "stop", "stop"],
    "response_length": [10, 20, 30, 60],
    "score": [1.0, 0.5, 0.0, -0.5],
    "reward_accuracy": [1.0, 1.0, 0.0, 0.0],
    "reward_format": [0.0, -0.5, 0.0, -0.5],
}


def table(**changes: list[Any]) -> pa.Table:
    """In two chunks."""
    whole = pa.table(FOUR | changes)
    return pa.concat_tables([whole[:1], whole[1:]])


def test_all_that_the_responses_of_a_step_say_by_hand() -> None:
    counts = count_responses(table(), rule=WholeWords())
    assert training_metrics(table(), counts=counts) == pytest.approx(
        {
            "train/accuracy": 2 / 4,
            "train/reward": 1 / 4,
            "train/reward_accuracy": 2 / 4,
            "train/reward_format": -1 / 4,
            "judge/correct": 2 / 4,
            "judge/wrong": 1 / 4,
            "judge/unparsable": 0.0,
            "judge/timed_out": 1 / 4,
            "response_length/mean": 120 / 4,
            "response_length/min": 10.0,
            "response_length/max": 60.0,
            "response_length/truncated": 1 / 4,
            "response_length/mean_terminated": 100 / 3,
            "response_length/mean_truncated": 20.0,
            "reflection/reflection_ratio": 2 / 4,
            "reflection/reflection_ratio_in_correct_answers": 1 / 2,
            "reflection/reflection_ratio_in_incorrect_answers": 1 / 2,
            "reflection/correct_ratio_in_reflection_texts": 1 / 2,
            "reflection/correct_ratio_in_no_reflection_texts": 1 / 2,
            **{f"reflection/word/{word.replace(' ', '_')}": 0.0 for word in WholeWords().words},
            "reflection/word/wait": 2.0,
            "reflection/word/verify": 1.0,
            "language/foreign_share": (2 / 6) / 4,  # two Cyrillic letters of six, in one response of four
        }
    )
    assert (counts.correct.tolist(), counts.reflective.tolist()) == ([True, True, False, False], [True, False, True, False])
    assert counts.accuracy == 0.5


def test_another_rule_counts_other_words_and_a_rule_without_words_counts_none() -> None:
    counts = count_responses(table(), rule=Substrings(words=["wait"]))
    assert training_metrics(table(), counts=counts)["reflection/word/wait"] == 3.0  # the waiter, too
    counts = count_responses(table(), rule=WholeWords(words=[]))
    assert not any(key.startswith("reflection/") for key in training_metrics(table(), counts=counts))


def test_an_evaluation_has_no_scores_and_a_missing_length_is_none() -> None:
    evaluated = table(response_length=[10, None, 30, 60]).drop_columns(["score", "reward_accuracy", "reward_format"])
    counts = count_responses(evaluated, rule=WholeWords())
    assert counts.lengths.tolist() == [10, 0, 30, 60]
    assert not any("reward" in key for key in training_metrics(evaluated, counts=counts))


@pytest.mark.slow
def test_no_letter_is_missed_by_looking_only_where_a_foreign_one_may_be() -> None:
    characters = [chr(code) for code in range(0x33480) if not 0xD800 <= code < 0xE000]  # beyond there are no letters
    foreign = {character for character in characters if _is_foreign(character)}
    may_be = pc.match_substring_regex(pa.array(characters), MAYBE_FOREIGN_RE2).to_pylist()
    assert foreign <= {character for character, found in zip(characters, may_be, strict=True) if found}
    assert len(foreign) > 100_000


def test_the_mean_over_responses_is_that_of_each_response() -> None:
    texts = ["abc", "не", "x не", "", "角度 α"]
    assert mean_foreign_share(pa.chunked_array([texts])) == pytest.approx(np.mean([foreign_share(text) for text in texts]))
    assert math.isnan(mean_foreign_share(pa.chunked_array([[]], pa.string())))
