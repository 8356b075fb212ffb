"""Weights by hand; test_trl_losses.py has them against TRL's own."""

import math

import pytest
import torch

from vlm_rl.algorithms.rollout_correction import (
    NoCorrection,
    RatioMask,
    RolloutCorrection,
    TruncatedImportanceSampling,
    importance_ratio,
)

RATIOS = torch.tensor([[0.4, 3.0, 1.5], [0.5, 0.8, 7.0]])  # trainer / engine; products 1.8 and, without the 7, 0.4
MASK = torch.tensor([[True, True, True], [True, True, False]])
WEIGHTS = [
    (TruncatedImportanceSampling(level="token", max_ratio=2.0), [[0.4, 2.0, 1.5], [0.5, 0.8, 0.0]]),
    (TruncatedImportanceSampling(level="sequence", max_ratio=1.25), [[1.25, 1.25, 1.25], [0.4, 0.4, 0.0]]),
    (RatioMask(level="token", min_ratio=0.45, max_ratio=2.0), [[0.0, 0.0, 1.5], [0.5, 0.8, 0.0]]),
    (RatioMask(level="sequence", min_ratio=0.5, max_ratio=2.0), [[1.8, 1.8, 1.8], [0.0, 0.0, 0.0]]),
    (NoCorrection(), [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]),
]


@pytest.mark.parametrize(("correction", "expected"), WEIGHTS)
def test_weights_are_those_worked_out_by_hand_and_have_no_gradient(
    correction: RolloutCorrection, expected: list[list[float]]
) -> None:
    log_ratio = RATIOS.log().requires_grad_()
    weights = correction.weights(log_ratio, MASK)
    torch.testing.assert_close(weights, torch.tensor(expected))
    assert not weights.requires_grad


def test_a_ratio_at_a_bound_is_inside() -> None:
    mask = torch.ones(1, 2, dtype=torch.bool)
    bounds = RatioMask(level="token", min_ratio=math.exp(-1.0), max_ratio=math.exp(1.0))
    log_ratio = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(bounds.weights(log_ratio, mask), log_ratio.exp())


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_ratios_beyond_all_reason_stay_finite_and_an_unknown_one_stays_unknown(level: str) -> None:
    mask = torch.ones(3, 2, dtype=torch.bool)
    log_ratio = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [math.nan, 0.0]])
    ratio = importance_ratio(log_ratio, mask, level=level)
    torch.testing.assert_close(ratio[0], torch.full((2,), math.exp(20.0)))
    torch.testing.assert_close(ratio[1], torch.full((2,), math.exp(-20.0)))
    assert ratio[2, 0].isnan()


def test_what_stands_off_the_mask_matters_to_no_response() -> None:
    log_ratio = torch.where(MASK, RATIOS.log(), torch.nan)
    weights = TruncatedImportanceSampling(level="sequence", max_ratio=2.0).weights(log_ratio, MASK)
    torch.testing.assert_close(weights, torch.tensor([[1.8, 1.8, 1.8], [0.4, 0.4, 0.0]]))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            TruncatedImportanceSampling,
            {"level": "token", "max_ratio": 0.9},
            r"rollout_correction\.max_ratio is 0\.9.*1 or more",
        ),
        (TruncatedImportanceSampling, {"level": "token", "max_ratio": math.nan}, r"rollout_correction\.max_ratio is nan"),
        (RatioMask, {"level": "token", "min_ratio": 1.1, "max_ratio": 2.0}, r"rollout_correction\.min_ratio is 1\.1.*<= 1 <="),
        (RatioMask, {"level": "token", "min_ratio": -0.1, "max_ratio": 2.0}, r"min_ratio is -0\.1.*0 <= min_ratio"),
        (RatioMask, {"level": "sequence", "min_ratio": 0.5, "max_ratio": 0.7}, r"\.max_ratio is 0\.7"),
    ],
)
def test_settings_that_make_no_sense_are_errors_that_name_their_keys(
    kind: type, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)
