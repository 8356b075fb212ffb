"""A coarse base under finely trained weights: bfloat16 products, float32 masters, one precision for sampling and training."""

import copy
from pathlib import Path

import pytest
import torch
from sight import adapters, logits, tiny
from tiny_runs import Build, Hand, gradients, roll_out, trained
from transformers import AutoModelForImageTextToText

from vlm_rl.commands.build import Experiment
from vlm_rl.models.parts import prepare
from vlm_rl.models.precision import precision, set_precision_of_products
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate
from vlm_rl.types import Trajectory

CPU = torch.device("cpu")
FULL = ("model.dtype=bfloat16", "model.lora=null", "model.optimization.learning_rate=1e-3")
COARSE = ("model.dtype=bfloat16", "model.optimization.learning_rate=1e-3", "dataset.max_new_tokens=8")
WAYS = {
    "adapters": (),
    "adapters under autocast": ("model.autocast=true",),
    "connector in full beside adapters": ("model.freeze=[vision]",),
    "language in full": ("model.lora=null",),
    "vision in full": ("model.freeze=[connector,language]", "model.lora=null"),
    "all in full": ("model.freeze=[]", "model.lora=null"),
}


@pytest.mark.parametrize(
    ("dtype", "lora", "freeze", "expected"),
    [
        ("bfloat16", (), ["vision", "connector"], torch.bfloat16),
        ("bfloat16", (), [], torch.bfloat16),  # nothing is left of the coarse base, and still it is what was asked for
        ("bfloat16", ("language",), ["vision"], torch.bfloat16),
        (
            "bfloat16",
            ("language",),
            ["vision", "connector"],
            None,
        ),  # adapters add in float32 to a bfloat16 stream by themselves
        ("float32", (), [], None),
    ],
)
def test_products_are_rounded_only_where_base_weights_were_raised(
    dtype: str, lora: tuple[str, ...], freeze: list[str], expected: torch.dtype | None
) -> None:
    vlm = tiny(dtype=dtype)
    prepare(vlm, freeze=freeze, lora=adapters(*lora), seed=0)
    assert precision(vlm, dtype=dtype).autocast_to == expected


def test_a_compact_reference_says_bit_for_bit_what_the_raised_model_says() -> None:
    vlm = tiny(dtype="bfloat16")
    prepare(vlm, freeze=["vision", "connector"], lora=None, seed=0)
    how, reference = precision(vlm, dtype="bfloat16"), copy.deepcopy(vlm)
    how.compact(reference)
    size, whole = (sum(p.nbytes for p in model.model.language_model.parameters()) for model in (reference, vlm))
    linear = 3 * (4 * 128 * 128 + 3 * 128 * 384 + 3 * 128)  # weights and three biases, of three layers
    assert whole - size == 2 * linear
    assert reference.get_output_embeddings().weight is reference.get_input_embeddings().weight
    with how.forward(CPU), torch.no_grad():
        assert torch.equal(logits(reference), logits(vlm))


@pytest.fixture(scope="module")
def exact(built: Build) -> Experiment:
    """The same model in float32, all of the language part trained; nobody trains it."""
    return built("model.lora=null", tremble=False)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_sampling_and_training_agree_and_all_that_is_trained_is_float32(built: Build, exact: Experiment, way: str) -> None:
    experiment = built(*COARSE, *WAYS[way], tremble=False)
    policy = experiment.policy
    policy.keep_reference()
    trajectory = roll_out(experiment)
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    mask = trajectory.response_mask
    assert torch.equal(trajectory.ref_logprobs, trajectory.old_logprobs)  # nothing has been learned yet
    apart = (trajectory.engine_logprobs - trajectory.old_logprobs).abs()[mask]
    rounding = (exact.policy.statistics(trajectory).logprobs - trajectory.old_logprobs).abs()[mask]
    assert apart.mean() < 0.02
    assert 0 < rounding.mean() < 0.05  # it really is computed in bfloat16
    before = {name: p.detach().clone() for name, p in trained(policy).items()}
    hand = Hand(experiment)
    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=8, seed=0, max_skipped_updates=1)
    for step in range(2):
        update.update(trajectory, policy, hand.stepper, step=step)
    moments = [state[key] for state in hand.optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    gradient_dtypes = {gradient.dtype for seen in hand.seen for gradient in seen.values()}
    assert {*gradient_dtypes, *(p.dtype for p in trained(policy).values()), *(m.dtype for m in moments)} == {torch.float32}
    assert len(moments) == 2 * len(before)
    assert all(not torch.equal(p, before[name]) for name, p in trained(policy).items())
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, trajectory), trajectory.ref_logprobs)  # off, it is what it was


@pytest.mark.slow
def test_the_gradient_is_that_of_a_float32_model_up_to_rounding(
    built: Build, exact: Experiment, trajectory: Trajectory
) -> None:
    coarse = built(*FULL, tremble=False)
    for experiment in (coarse, exact):
        experiment.policy.statistics(trajectory).logprobs.mean().backward()
    left, right = (torch.cat([g.flatten() for g in gradients(e.policy).values()]) for e in (coarse, exact))
    assert torch.nn.functional.cosine_similarity(left, right, dim=0) > 0.99


@pytest.mark.slow
def test_a_checkpoint_of_full_training_loads_in_plain_transformers_without_rounding(built: Build, tmp_path: Path) -> None:
    policy = built(*FULL).policy  # trembling: no weight of the language part is a bfloat16 number any more
    policy.save(tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert plain.dtype == plain.config.text_config.dtype == torch.float32
    found, rounded = dict(plain.named_parameters()), 0
    for name, weight in policy.vlm.named_parameters():
        assert torch.equal(found[name], weight.float())
        rounded += not torch.equal(weight.bfloat16().float(), weight.float())
    assert rounded == len(trained(policy))


@pytest.mark.parametrize("tf32", [True, False])
def test_torch_still_tells_the_precision_of_products_as_lightning_asks_on_a_gpu(tf32: bool) -> None:
    of_cpu = torch.backends.mkldnn.matmul.fp32_precision
    try:
        set_precision_of_products(tf32=tf32)
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert (
            torch.backends.cuda.matmul.fp32_precision
            == torch.backends.cudnn.conv.fp32_precision
            == ("tf32" if tf32 else "ieee")
        )
        assert torch.backends.mkldnn.matmul.fp32_precision == of_cpu
    finally:
        set_precision_of_products(tf32=False)
