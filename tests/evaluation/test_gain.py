import functools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rl.evaluation.response_length import FormatCounts, split_gain


@st.composite
def format_counts(draw: st.DrawFn) -> FormatCounts:
    well_formed_correct, well_formed_wrong, outside_correct, outside_wrong = (draw(st.integers(0, 50)) for _ in range(4))
    return FormatCounts(
        num_responses=well_formed_correct + well_formed_wrong + outside_correct + outside_wrong + 1,
        num_well_formed=well_formed_correct + well_formed_wrong,
        num_correct=well_formed_correct + outside_correct,
        num_well_formed_correct=well_formed_correct,
    )


def test_the_split_by_hand() -> None:
    before = FormatCounts(
        num_responses=100, num_well_formed=50, num_correct=22, num_well_formed_correct=20
    )  # q = 0.4, r = 0.02
    after = FormatCounts(num_responses=100, num_well_formed=90, num_correct=54, num_well_formed_correct=54)  # q = 0.6, r = 0
    parts = split_gain(after, before=before)
    assert parts.gain == pytest.approx(0.32)
    assert parts.format == pytest.approx(0.40 * 0.5)  # 40 points more well-formed, right at the mean of 0.4 and 0.6
    assert parts.reasoning == pytest.approx(0.2 * 0.7)  # 0.2 more of these right, in the mean of 0.5 and 0.9 responses
    assert parts.outside == pytest.approx(-0.02)


@given(before=format_counts(), after=format_counts())
def test_the_parts_always_add_up_to_the_gain(before: FormatCounts, after: FormatCounts) -> None:
    parts = split_gain(after, before=before)
    assert parts.format + parts.reasoning + parts.outside == pytest.approx(parts.gain, abs=1e-12)


def test_learning_the_format_alone_is_all_format() -> None:
    before = FormatCounts(num_responses=10, num_well_formed=0, num_correct=0, num_well_formed_correct=0)
    after = FormatCounts(num_responses=10, num_well_formed=10, num_correct=6, num_well_formed_correct=6)
    parts = split_gain(after, before=before)
    assert (parts.gain, parts.format, parts.reasoning, parts.outside) == (0.6, 0.6, 0.0, 0.0)


def test_counts_pool_over_seeds() -> None:
    one = FormatCounts(num_responses=10, num_well_formed=4, num_correct=3, num_well_formed_correct=2)
    pooled = functools.reduce(operator.add, [one, one, one])
    assert (pooled.num_responses, pooled.well_formed, pooled.accuracy_if_well_formed) == (30, 0.4, 0.5)
