"""Weights by hand and against TRL's own."""

import math
from dataclasses import replace

import pytest
import torch
from trajectories import bare, random_logprobs
from trl_stub import StubGrpo

from vlm_rl.algorithms.rollout_correction import (
    NoCorrection,
    RatioMask,
    RolloutCorrection,
    TruncatedImportanceSampling,
    importance_ratio,
)
from vlm_rl.types import Trajectory

RATIOS = torch.tensor([[0.4, 3.0, 1.5], [0.5, 0.8, 7.0]])  # trainer / engine; products 1.8 and, without the 7, 0.4
MASK = torch.tensor([[True, True, True], [True, True, False]])
WEIGHTS = [
    (TruncatedImportanceSampling(level="token", max_ratio=2.0), [[0.4, 2.0, 1.5], [0.5, 0.8, 0.0]]),
    (TruncatedImportanceSampling(level="sequence", max_ratio=1.25), [[1.25, 1.25, 1.25], [0.4, 0.4, 0.0]]),
    (RatioMask(level="token", min_ratio=0.45, max_ratio=2.0), [[0.0, 0.0, 1.5], [0.5, 0.8, 0.0]]),
    (RatioMask(level="sequence", min_ratio=0.5, max_ratio=2.0), [[1.8, 1.8, 1.8], [0.0, 0.0, 0.0]]),
    (NoCorrection(), [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]),
]
MODES = [
    ("token_truncate", TruncatedImportanceSampling(level="token", max_ratio=2.0), None),
    ("sequence_truncate", TruncatedImportanceSampling(level="sequence", max_ratio=2.0), None),
    ("token_mask", RatioMask(level="token", min_ratio=0.5, max_ratio=2.0), 0.5),
    ("sequence_mask", RatioMask(level="sequence", min_ratio=0.5, max_ratio=2.0), 0.5),
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


def test_of_a_single_token_both_levels_say_the_same() -> None:
    log_ratio, mask = torch.tensor([[0.3], [-0.7]]), torch.ones(2, 1, dtype=torch.bool)
    assert torch.equal(importance_ratio(log_ratio, mask, level="token"), importance_ratio(log_ratio, mask, level="sequence"))


def test_what_stands_off_the_mask_matters_to_no_response() -> None:
    log_ratio = torch.where(MASK, RATIOS.log(), torch.nan)
    weights = TruncatedImportanceSampling(level="sequence", max_ratio=2.0).weights(log_ratio, MASK)
    torch.testing.assert_close(weights, torch.tensor([[1.8, 1.8, 1.8], [0.4, 0.4, 0.0]]))


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            TruncatedImportanceSampling,
            {"level": "word", "max_ratio": 2.0},
            r"rollout_correction\.level is 'word'.*token, sequence",
        ),
        (
            TruncatedImportanceSampling,
            {"level": "token", "max_ratio": 0.9},
            r"rollout_correction\.max_ratio is 0\.9.*1 or more",
        ),
        (TruncatedImportanceSampling, {"level": "token", "max_ratio": math.nan}, r"rollout_correction\.max_ratio is nan"),
        (RatioMask, {"level": "token", "min_ratio": 1.1, "max_ratio": 2.0}, r"rollout_correction\.min_ratio is 1\.1.*<= 1 <="),
        (RatioMask, {"level": "token", "min_ratio": -0.1, "max_ratio": 2.0}, r"min_ratio is -0\.1.*0 <= min_ratio"),
        (RatioMask, {"level": "sequence", "min_ratio": 0.5, "max_ratio": 0.7}, r"\.max_ratio is 0\.7"),
        (RatioMask, {"level": "both", "min_ratio": 0.5, "max_ratio": 2.0}, r"rollout_correction\.level is 'both'"),
    ],
)
def test_settings_that_make_no_sense_are_errors_that_name_their_keys(
    kind: type, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def mismatched(*, seed: int) -> Trajectory:
    """Eight responses of one to seven tokens, in groups of four, by an engine that is up to one nat away a token."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 8, (8,), generator=generator).tolist()
    trajectory = bare(lengths, scores=torch.rand(8, generator=generator).tolist())
    old = random_logprobs(trajectory, seed=seed + 100)
    noise = 2 * torch.rand(old.shape, generator=generator) - 1
    return replace(trajectory, old_logprobs=old, engine_logprobs=old + noise * trajectory.response_mask)


@pytest.mark.parametrize(("mode", "correction", "least"), MODES)
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_trl(mode: str, correction: RolloutCorrection, least: float | None, seed: int) -> None:
    settings = {
        "use_vllm": True,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": mode,
        "vllm_importance_sampling_clip_min": least,
        "vllm_importance_sampling_clip_max": 2.0,
    }
    trajectory = mismatched(seed=seed)
    mask, old = trajectory.response_mask, trajectory.old_logprobs
    assert old is not None
    weights = correction.weights(old - trajectory.engine_logprobs, mask)
    stub = StubGrpo(trajectory=trajectory, num_generations=4, settings=settings)
    theirs = stub.inputs()["importance_sampling_ratio"]  # one for each response, or for each token
    torch.testing.assert_close(weights, theirs * mask, atol=1e-6, rtol=1e-5)
    assert not torch.equal(
        weights, importance_ratio(old - trajectory.engine_logprobs, mask, level=correction.level)
    )  # a bound is met
