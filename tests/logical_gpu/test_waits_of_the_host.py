"""How often the host waits for the GPU: stated for a token and for a micro-batch, and none for a layer."""

from scenarios import WAITS
from shared_runs import Seen

ENGINE, TOKEN_SUMS = "vlm_rl/rollout/huggingface_engine.py", "vlm_rl/pipeline/step4_policy_update.py"
A_NUMBER, A_MASK = "a number on the host (item, float, int, bool)", "a Boolean mask as index"


def test_no_layer_makes_the_host_wait(seen: Seen) -> None:
    """Waits and copies of sampling are the same with 2 and with 4 text layers."""
    assert list(seen(WAITS).faults) == []


def test_a_sampled_token_makes_the_host_wait_twice(seen: Seen) -> None:
    assert seen(WAITS).for_one_token == {
        f"{ENGINE}:HuggingFaceEngine._sample: {A_NUMBER}": 1,  # does any row still write?
        f"transformers/masking_utils.py:_ignore_causal_mask_sdpa: {A_NUMBER}": 1,  # is anything masked?
    }


def test_a_micro_batch_of_the_update_makes_the_host_wait_thirteen_times_and_for_the_copy_of_its_image(seen: Seen) -> None:
    counts = seen(WAITS).for_one_micro_batch
    assert counts == {
        f"vlm_rl/types.py:select: {A_NUMBER}": 2,  # how much padding is cut, left and right
        "vlm_rl/types.py:_part: tolist": 1,  # which images the rows have
        f"vlm_rl/models/policy.py:Policy.statistics: {A_MASK}": 2,  # states and ids of response tokens
        f"{TOKEN_SUMS}:PolicyUpdate._gradients: {A_MASK}": 1,  # the backward pass of the states
        f"{TOKEN_SUMS}:sums_over_tokens: {A_MASK}": 4,
        f"transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py:Qwen2_5_VLModel.get_placeholder_mask: {A_NUMBER}": 1,
        f"transformers/utils/import_utils.py:torch_compilable_check: {A_NUMBER}": 1,
        f"transformers/masking_utils.py:_ignore_causal_mask_sdpa: {A_NUMBER}": 1,  # is anything masked? twice where something is
        "vlm_rl/types.py:ImageFeatures.to: a move to the GPU": 1,
    }
    assert counts.total() == 13 + 1
