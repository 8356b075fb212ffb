"""Diagnostics of engine against trainer, worked out by hand, and the same over two ranks."""

import math
from dataclasses import replace
from pathlib import Path

import known_ratios
import pytest
import torch
from forked import on_ranks
from forking import Forking
from known_ratios import NONE, SEQUENCE, TOKEN, known
from trajectories import bare

from vlm_rl.algorithms.rollout_correction import RolloutCorrection
from vlm_rl.callbacks.recorder import engine_metrics
from vlm_rl.types import select


def test_ratios_divergence_and_effective_sample_size_are_those_worked_out_by_hand() -> None:
    metrics = engine_metrics(known(NONE), correction=NONE)
    kept = [0.4, 3.0, 1.5, 0.5, 0.8]
    products = [0.4 * 3.0 * 1.5, 0.5 * 0.8]  # 1.8 and 0.4
    expected = {
        "rollout/logprob_difference_mean": sum(abs(math.log(r)) for r in kept) / 5,
        "rollout/logprob_difference_max": math.log(3.0),
        "rollout/importance_ratio_mean": 6.2 / 5,
        "rollout/importance_ratio_min": 0.4,
        "rollout/importance_ratio_max": 3.0,
        "rollout/kl": sum(r - math.log(r) - 1 for r in kept) / 5,
        "rollout/effective_sample_share": sum(products) ** 2 / (2 * (1.8**2 + 0.4**2)),  # 4.84 / 6.8
    }
    assert metrics == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("correction", "mean", "share"),
    [(TOKEN, (0.4 + 2.0 + 1.5 + 0.5 + 0.8) / 5, 1 / 5), (SEQUENCE, 3 * 1.8 / 5, 1 / 2)],  # of five tokens, of two responses
)
def test_a_correction_tells_the_mean_weight_and_the_share_that_it_changed(
    correction: RolloutCorrection, mean: float, share: float
) -> None:
    metrics = engine_metrics(known(correction), correction=correction)
    assert metrics["rollout/weight_mean"] == pytest.approx(mean, rel=1e-5)
    assert metrics["rollout/corrected_share"] == pytest.approx(share)
    plain = engine_metrics(known(NONE), correction=NONE)
    assert {name: metrics[name] for name in plain} == plain  # the diagnostics are of what was sampled, corrected or not


def test_the_kl_estimate_is_of_the_engine_from_the_trainer() -> None:
    engine, trainer = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    words = torch.multinomial(engine, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    one = bare([1] * len(words), scores=[0.0] * len(words), old=trainer.log()[words, None], engine=engine.log()[words, None])
    metrics = engine_metrics(one, correction=NONE)
    exact = float((engine * (engine / trainer).log()).sum())  # 0.635; the other direction is 0.676
    ratios = (trainer / engine)[words]
    error = float((ratios - ratios.log() - 1).std()) / math.sqrt(len(words))
    assert abs(metrics["rollout/kl"] - exact) < 3 * error < 0.05
    assert metrics["rollout/importance_ratio_mean"] == pytest.approx(1.0, abs=0.05)  # in expectation, whatever the engine


def test_nothing_is_said_where_the_trainer_has_not_spoken() -> None:
    unknown = replace(known(NONE), old_logprobs=None)
    assert engine_metrics(unknown, correction=NONE) == {}


def test_a_batch_without_tokens_has_no_figures() -> None:
    empty = select(known(TOKEN), torch.tensor([2]))
    assert all(map(math.isnan, engine_metrics(empty, correction=TOKEN).values()))


@pytest.mark.slow
def test_two_ranks_report_what_one_would(forking: Forking, tmp_path: Path) -> None:
    alone = [engine_metrics(known(correction), correction=correction) for correction in (NONE, TOKEN, SEQUENCE)]
    for reported in on_ranks(forking, known_ratios.__file__, "reported", tmp_path):
        assert [metrics.keys() for metrics in reported] == [metrics.keys() for metrics in alone]
        for metrics, expected in zip(reported, alone, strict=True):
            assert metrics == pytest.approx(expected, rel=1e-6)
