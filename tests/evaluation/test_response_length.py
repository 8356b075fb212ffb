import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rl.evaluation.response_length import FormatCounts, gain_parts, length_metrics


def lengths(*numbers: int, truncated: list[bool]) -> dict[str, float]:
    return length_metrics(np.array(numbers, dtype=np.int64), truncated=np.array(truncated, dtype=bool))


def test_lengths_by_hand_and_what_is_undefined_is_missing() -> None:
    assert lengths(3, 5, 10, 10, truncated=[False, False, True, True]) == {
        "response_length/mean": 7.0,
        "response_length/min": 3.0,
        "response_length/max": 10.0,
        "response_length/truncated": 0.5,
        "response_length/mean_terminated": 4.0,
        "response_length/mean_truncated": 10.0,
    }
    assert all(map(math.isnan, lengths(truncated=[]).values()))
    one = lengths(4, truncated=[False])
    assert math.isnan(one["response_length/mean_truncated"]) and one["response_length/truncated"] == 0.0


@st.composite
def format_counts(draw: st.DrawFn) -> FormatCounts:
    well_formed_correct, well_formed_wrong, outside_correct, outside_wrong = (draw(st.integers(0, 50)) for _ in range(4))
    return FormatCounts(
        num_responses=well_formed_correct + well_formed_wrong + outside_correct + outside_wrong + 1,
        num_well_formed=well_formed_correct + well_formed_wrong,
        num_correct=well_formed_correct + outside_correct,
        num_well_formed_correct=well_formed_correct,
    )


def counts(num_responses: int, well_formed: int, correct: int, well_formed_correct: int) -> FormatCounts:
    return FormatCounts(
        num_responses=num_responses,
        num_well_formed=well_formed,
        num_correct=correct,
        num_well_formed_correct=well_formed_correct,
    )


def test_the_split_by_hand() -> None:
    before, after = counts(100, 50, 22, 20), counts(100, 90, 54, 54)  # q = 0.4, r = 0.02; q = 0.6, r = 0
    parts = gain_parts(after, before=before)
    assert parts.gain == pytest.approx(0.32)
    assert parts.format == pytest.approx(0.40 * 0.5)  # 40 points more well-formed, right at the mean of 0.4 and 0.6
    assert parts.reasoning == pytest.approx(0.2 * 0.7)  # 0.2 more of these right, in the mean of 0.5 and 0.9 responses
    assert parts.outside == pytest.approx(-0.02)
    pooled = before + before  # over seeds
    assert (pooled.num_responses, pooled.well_formed, pooled.accuracy_if_well_formed) == (200, 0.5, 0.4)


@settings(max_examples=50)
@given(before=format_counts(), after=format_counts())
def test_the_parts_always_add_up_to_the_gain(before: FormatCounts, after: FormatCounts) -> None:
    parts = gain_parts(after, before=before)
    assert parts.format + parts.reasoning + parts.outside == pytest.approx(parts.gain, abs=1e-12)


def test_learning_the_format_alone_is_all_format() -> None:
    parts = gain_parts(counts(10, 10, 6, 6), before=counts(10, 0, 0, 0))
    assert (parts.gain, parts.format, parts.reasoning, parts.outside) == (0.6, 0.6, 0.0, 0.0)
