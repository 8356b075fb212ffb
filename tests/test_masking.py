"""Numbers worked out by hand; what several ranks do is in test_two_ranks.py."""

import math

import pytest
import torch

from vlm_rl.masking import masked_whiten, pooled_mean, response_mean_weights, token_mean_weights, weighted_sum

MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [False, False, False, False]])


def test_whitened_values_have_zero_mean_and_unit_variance_over_the_mask_alone() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 1e6], [6.0, -1e6, 7.0, 0.0], [9.0, 9.0, 9.0, 9.0]])
    white = masked_whiten(values, MASK)
    # mean of 1, 2, 3, 6 is 3; squares 4 + 1 + 0 + 9 = 14 over 4
    std = math.sqrt(14 / 4)
    expected = [-2 / std, -1 / std, 0.0, 3 / std]
    assert white[MASK].tolist() == pytest.approx(expected)
    assert white[~MASK].eq(0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3.3, 1e6, 1e-6])
def test_equal_values_become_exactly_zero(value: float) -> None:
    values = torch.full((7, 13), value)
    assert masked_whiten(values, torch.rand(7, 13) < 0.7).eq(0).all()


def test_values_that_differ_by_rounding_alone_become_zero() -> None:
    values = torch.full((4, 8), 1.0)
    values[0, 0] += 1e-7
    assert masked_whiten(values, torch.ones(4, 8, dtype=torch.bool)).eq(0).all()


def test_small_differences_around_zero_are_kept() -> None:
    values = torch.tensor([[1e-5, -1e-5]])
    assert masked_whiten(values, torch.ones(1, 2, dtype=torch.bool)).tolist() == [[1.0, -1.0]]


def test_whitening_nothing_gives_nothing() -> None:
    assert masked_whiten(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).eq(0).all()


def test_response_weights_average_tokens_then_responses_and_skip_empty_ones() -> None:
    weights = response_mean_weights(MASK)
    assert weights[0].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0])
    assert weights[1].tolist() == pytest.approx([1 / 2, 0, 0, 0])
    assert weights[2].tolist() == [0, 0, 0, 0]
    assert float(weights.sum()) == pytest.approx(1)


def test_token_weights_are_the_same_for_every_token() -> None:
    weights = token_mean_weights(MASK)
    assert weights[MASK].tolist() == [0.25] * 4
    assert weights.sum().item() == 1


def test_weights_of_a_rank_without_rows_are_empty() -> None:
    nothing = torch.zeros(0, 1, dtype=torch.bool)
    assert response_mean_weights(nothing).shape == (0, 1)
    assert token_mean_weights(nothing).shape == (0, 1)


def test_what_stands_off_the_mask_does_not_count_even_if_it_is_nan() -> None:
    values = torch.tensor([[1.0, 2.0, 4.0, math.nan], [8.0, math.inf, 0.0, 0.0], [math.nan] * 4], requires_grad=True)
    total = weighted_sum(values, token_mean_weights(MASK), MASK)
    total.backward()
    assert total.item() == (1 + 2 + 4 + 8) / 4
    assert values.grad is not None
    assert values.grad[~MASK].eq(0).all()


def test_a_mean_over_nothing_is_missing_and_not_zero() -> None:
    assert pooled_mean(torch.tensor([[1.0, 5.0]]), torch.tensor([[True, True]])) == 3
    assert math.isnan(pooled_mean(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool)))
