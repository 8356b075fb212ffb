"""Which groups differ, how many are sampled, and where each of them goes, by hand and against plain Python."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, differs, places_in_batch


def test_a_group_differs_unless_all_of_its_responses_have_the_same_value() -> None:
    values = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 1, 0, 0.5, 0.5, 0.25])
    assert differs(values, group_size=3).tolist() == [False, False, True, True]
    assert differs(values, group_size=2).tolist() == [False, True, False, True, True, True]


@pytest.mark.parametrize("oversample", [0.99, math.nan, math.inf])
def test_sampling_less_than_an_update_needs_is_an_error_that_names_the_key_and_a_number_that_does(oversample: float) -> None:
    key = r"algorithm\.dynamic_sampling\.oversample"
    with pytest.raises(ValueError, match=rf"^{key}={oversample}; it is 1 or more\. For example {key}=1\.5\.$"):
        DynamicSampling(metric="score", oversample=oversample)


def test_a_step_samples_a_multiple_of_what_its_update_learns_from_rounded_up() -> None:
    """1.12 * 25 is 28.000000000000004 in floating point: still 28 queries."""
    by_hand = {(1.0, 16): 16, (1.5, 16): 24, (1.5, 1): 2, (1.12, 25): 28, (1.01, 4): 5}
    assert {case: DynamicSampling(metric="score", oversample=case[0]).num_queries(case[1]) for case in by_hand} == by_hand


@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(thousandths=st.integers(1000, 8000), batch_size=st.integers(1, 4096))
def test_the_number_of_queries_is_the_one_of_exact_arithmetic(thousandths: int, batch_size: int) -> None:
    settings = DynamicSampling(metric="accuracy", oversample=thousandths / 1000)
    assert settings.num_queries(batch_size) == math.ceil(Fraction(thousandths, 1000) * batch_size)


def test_queries_that_differ_come_first_and_all_keep_their_order() -> None:
    is_different = torch.tensor([False, True, False, True, True])  # 1, 3, 4, then 0, 2
    assert places_in_batch(is_different).tolist() == [3, 0, 4, 1, 2]


@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(is_different=st.lists(st.booleans(), max_size=40))
def test_places_are_those_of_two_lists_one_after_the_other(is_different: list[bool]) -> None:
    differing = [query for query, differs in enumerate(is_different) if differs]
    others = [query for query, differs in enumerate(is_different) if not differs]
    places = places_in_batch(torch.tensor(is_different, dtype=torch.bool)).tolist()
    assert places == [(differing + others).index(query) for query in range(len(is_different))]
