"""Loss and gradient of an algorithm are those of TRL's own code on the same batch, in float64."""

from dataclasses import replace

import pytest
from trl_cases import PAIRS, SEEDS, assert_equal, our_loss, our_outcome, outcome, random_case, their_outcome
from trl_stub import StubGrpo

from vlm_rl.algorithms.rollout_correction import RatioMask, TruncatedImportanceSampling

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PAIRS)
def test_loss_and_gradient_equal_those_of_trl(name: str, seed: int) -> None:
    case = random_case(name, seed=seed)
    assert_equal(our_outcome(case), their_outcome(case))
    if case.ours.num_updates > 1:
        advantages = case.ours.advantages(case.trajectory)
        clipped = our_loss(case, case.model.logprobs()).clipped
        assert clipped is not None and (clipped & (advantages > 0)).any() and (clipped & (advantages < 0)).any()


CORRECTIONS = {
    "token_truncate": TruncatedImportanceSampling(level="token", max_ratio=1.1),
    "token_mask": RatioMask(level="token", min_ratio=0.8, max_ratio=1.3),
    "sequence_truncate": TruncatedImportanceSampling(level="sequence", max_ratio=1.1),
    "sequence_mask": RatioMask(level="sequence", min_ratio=0.6, max_ratio=1.6),
}
CORRECTED = [(name, mode) for name in ("grpo", "dapo", "dr_grpo") for mode in CORRECTIONS] + [
    ("gspo", "sequence_truncate"),  # its ratio is the response's, so ours refuses a correction of tokens
    ("gspo", "sequence_mask"),
]


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize(("name", "mode"), CORRECTED)
def test_rollout_correction_weighs_the_policy_loss_as_in_trl_and_leaves_the_kl_alone(name: str, mode: str, seed: int) -> None:
    correction = CORRECTIONS[mode]
    case = random_case(
        name,
        seed=seed,
        rollout_correction=correction,
        trl={
            "use_vllm": True,
            "vllm_importance_sampling_correction": True,
            "vllm_importance_sampling_mode": mode,
            "vllm_importance_sampling_clip_min": getattr(correction, "min_ratio", None),
            "vllm_importance_sampling_clip_max": correction.max_ratio,
        },
    )
    old, mask = case.trajectory.old_logprobs, case.trajectory.response_mask
    assert old is not None
    weights = correction.weights(old - case.trajectory.engine_logprobs, mask)
    held = (weights[mask] == 0) | (weights[mask] == correction.max_ratio)
    assert held.any() and not held.all()
    case = replace(case, trajectory=replace(case.trajectory, rollout_weights=weights))
    assert_equal(our_outcome(case), their_outcome(case))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo"])
def test_what_is_logged_equals_the_clip_fraction_and_the_kl_of_trl(name: str, seed: int) -> None:
    case = random_case(name, seed=seed)
    mask, ours = case.trajectory.response_mask, our_loss(case, case.model.logprobs())
    their_outcome(case)
    logged = case.theirs._metrics["train"]
    assert ours.clipped is not None
    fraction = ours.clipped[mask].double().mean().item()
    assert fraction == pytest.approx(logged["clip_ratio/region_mean"][0], abs=1e-6)  # TRL counts in float32
    if ours.kl is not None:
        assert ours.kl[mask].mean().item() == pytest.approx(logged["kl"][0], rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_rloo_with_the_ratio_of_tokens_is_the_grpo_loss_of_trl_at_its_rloo_advantages(seed: int) -> None:
    case = random_case("rloo", seed=seed, ratio_level="token")
    rloo = case.theirs
    grpo = StubGrpo(trajectory=rloo.trajectory, num_generations=rloo.num_generations, settings=rloo.settings | {"beta": 0.0})
    inputs = grpo.inputs() | {"advantages": rloo.inputs()["advantages"]}
    assert_equal(our_outcome(case), outcome(case, lambda logprobs: grpo.loss(logprobs, inputs)))
