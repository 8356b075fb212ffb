"""Which groups differ, how many are sampled, and where each of them goes, by hand and against plain Python."""

import math
from fractions import Fraction

import pytest
import torch
from arbitrary_batches import examples
from hypothesis import given
from hypothesis import strategies as st

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, differs, places_in_batch

MASKS = st.lists(st.booleans(), max_size=40)


def test_a_group_differs_unless_all_of_its_responses_have_the_same_value() -> None:
    values = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 1, 0, 0.5, 0.5, 0.25])
    assert differs(values, group_size=3).tolist() == [False, False, True, True]
    assert differs(values, group_size=2).tolist() == [False, True, False, True, True, True]


def test_a_rank_without_queries_has_no_groups() -> None:
    assert differs(torch.zeros(0), group_size=4).shape == (0,)


@examples(100)
@given(size=st.integers(1, 5), data=st.data())
def test_which_groups_differ_is_what_a_set_of_their_values_says(size: int, data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=size, max_size=size), max_size=8))
    flat = torch.tensor([value for group in groups for value in group])
    assert differs(flat, group_size=size).tolist() == [len(set(group)) > 1 for group in groups]


@pytest.mark.usefixtures("as_in_a_run")
def test_a_metric_that_there_is_not_is_an_error_that_names_the_key_and_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"^algorithm.dynamic_sampling.metric is 'loss'; it is one of accuracy, score\.$"):
        DynamicSampling(metric="loss", oversample=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("oversample", [0.99, 0.0, -1.5, math.nan, math.inf])
def test_sampling_less_than_an_update_needs_is_an_error_that_names_the_key_and_a_number_that_does(oversample: float) -> None:
    key = r"algorithm\.dynamic_sampling\.oversample"
    with pytest.raises(ValueError, match=rf"^{key}={oversample}; it is 1 or more\. For example {key}=1\.5\.$"):
        DynamicSampling(metric="score", oversample=oversample)


@pytest.mark.parametrize(
    ("oversample", "batch_size", "sampled"),
    [
        (1.0, 16, 16),
        (1, 7, 7),
        (1.5, 16, 24),
        (1.5, 1, 2),
        (1.25, 10, 13),
        (1.12, 25, 28),
        (1.2, 5, 6),
        (1.01, 4, 5),
        (3.0, 8, 24),
    ],
)
def test_a_step_samples_a_multiple_of_what_its_update_learns_from_rounded_up(
    oversample: float, batch_size: int, sampled: int
) -> None:
    """1.12 * 25 is 28.000000000000004 in floating point: still 28 queries."""
    assert DynamicSampling(metric="score", oversample=oversample).num_queries(batch_size) == sampled


@examples(300)
@given(thousandths=st.integers(1000, 8000), batch_size=st.integers(1, 4096))
def test_the_number_of_queries_is_the_one_of_exact_arithmetic(thousandths: int, batch_size: int) -> None:
    settings = DynamicSampling(metric="accuracy", oversample=thousandths / 1000)
    assert settings.num_queries(batch_size) == math.ceil(Fraction(thousandths, 1000) * batch_size)


def test_queries_that_differ_come_first_and_all_keep_their_order() -> None:
    is_different = torch.tensor([False, True, False, True, True])  # 1, 3, 4, then 0, 2
    assert places_in_batch(is_different).tolist() == [3, 0, 4, 1, 2]
    assert places_in_batch(torch.ones(3, dtype=torch.bool)).tolist() == [0, 1, 2]
    assert places_in_batch(torch.zeros(3, dtype=torch.bool)).tolist() == [0, 1, 2]


@examples(200)
@given(is_different=MASKS)
def test_places_are_those_of_two_lists_one_after_the_other(is_different: list[bool]) -> None:
    differing = [query for query, differs in enumerate(is_different) if differs]
    others = [query for query, differs in enumerate(is_different) if not differs]
    places = places_in_batch(torch.tensor(is_different, dtype=torch.bool)).tolist()
    assert places == [(differing + others).index(query) for query in range(len(is_different))]


@examples(200)
@given(is_different=MASKS.filter(any), batch_size=st.integers(1, 40))
def test_a_batch_holds_a_query_without_differences_only_where_too_few_differ(is_different: list[bool], batch_size: int) -> None:
    places = places_in_batch(torch.tensor(is_different))
    taken = torch.tensor(is_different)[places < batch_size]
    assert len(taken) == min(batch_size, len(is_different))
    assert int(taken.sum()) == min(batch_size, sum(is_different))
