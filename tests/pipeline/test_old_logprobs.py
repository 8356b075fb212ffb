"""`algorithm.old_logprobs=engine`: no pass for what the embedded engine has said, and no silence about it."""

from dataclasses import replace

import pytest
from tiny_runs import Build

from vlm_rl.callbacks.recorder import engine_metrics
from vlm_rl.commands.build import Experiment, composed
from vlm_rl.commands.check_algorithm import check_responses
from vlm_rl.commands.checks import checked_algorithm
from vlm_rl.pipeline import step3_trajectory_generation
from vlm_rl.pipeline.step3_trajectory_generation import EngineMismatch
from vlm_rl.types import Trajectory

WORDS = ("algorithm=grpo", "algorithm.kl_loss_coef=0", "algorithm.group_size=2", "algorithm.num_minibatches=2")


@pytest.fixture(scope="module")
def engines(built: Build) -> Experiment:
    """Two updates a step, so old log-probabilities are needed."""
    return built(*WORDS, "algorithm.old_logprobs=engine", "parity.every=2")


def scored(experiment: Experiment, *, step: int, lie: float = 0.0) -> Trajectory:
    queries = replace(experiment.module.data_flow.queries(0), step=step)
    responses = experiment.module.collect_responses(queries)
    responses = replace(responses, engine_logprobs=responses.engine_logprobs + lie * responses.response_mask)
    return experiment.module.generate_trajectory(queries, responses).trajectory


@pytest.mark.slow
def test_the_engines_own_are_taken_but_at_the_steps_at_which_they_are_checked(
    engines: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    compute = step3_trajectory_generation.response_logprobs
    monkeypatch.setattr(
        step3_trajectory_generation, "response_logprobs", lambda policy, samples: passes.append(1) or compute(policy, samples)
    )
    between, checked = scored(engines, step=3), scored(engines, step=4)
    assert len(passes) == 1  # of the step that is due
    assert between.old_logprobs is between.engine_logprobs
    assert checked.old_logprobs is not None and checked.old_logprobs is not checked.engine_logprobs
    assert (checked.old_logprobs - checked.engine_logprobs).abs().max() <= 2e-5
    correction = engines.algorithm.rollout_correction
    assert engine_metrics(between, correction=correction) == {}  # nothing was compared
    assert engine_metrics(checked, correction=correction) != {}
    with pytest.raises(EngineMismatch):
        scored(engines, step=4, lie=0.5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["algorithm/rollout_correction=truncate", "algorithm.rollout_correction.max_ratio=2"], "takes them for equal"),
        ([f"rollout.engine._target_={__name__}.Server"], "takes what Server says for what the policy says"),
    ],
)
def test_it_is_refused_where_the_engine_is_not_known_to_be_the_policy(words: list[str], told: str) -> None:
    cfg = composed(["experiment=smoke", *WORDS, "algorithm.old_logprobs=engine", *words])
    with pytest.raises(ValueError, match=told):
        check_responses(cfg, checked_algorithm("evaluate", cfg))
    cfg.algorithm.old_logprobs = "recompute"
    check_responses(cfg, checked_algorithm("evaluate", cfg))


class Server:
    """Samples elsewhere."""
