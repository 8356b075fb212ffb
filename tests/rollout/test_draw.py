import math

import pytest
import torch

from vlm_rl.rollout.huggingface_engine import draw

PROBABILITIES = [0.1, 0.4, 0.0, 0.3, 0.2]  # cumulative 0.1, 0.5, 0.5, 0.8, 1.0


def drawn(*numbers: float, top_p: float = 1.0) -> list[int]:
    logprobs = torch.tensor([[math.log(p) if p else -math.inf for p in PROBABILITIES]] * len(numbers))
    return draw(logprobs, torch.tensor(numbers, dtype=torch.float64), top_p=top_p).tolist()


def test_an_id_is_drawn_where_the_cumulative_probability_passes_the_number() -> None:
    assert drawn(0.0, 0.09, 0.11, 0.49, 0.51, 0.79, 0.81, 0.999) == [0, 0, 1, 1, 3, 3, 4, 4]


def test_an_id_of_probability_zero_is_never_drawn_not_even_at_the_end() -> None:
    logprobs = torch.tensor([[math.log(0.5), math.log(0.5), -math.inf, -math.inf]])
    assert draw(logprobs, torch.tensor([1 - 2**-53], dtype=torch.float64), top_p=1.0).tolist() == [1]
    banned_first = torch.tensor([[-math.inf, 0.0]])
    assert draw(banned_first, torch.tensor([0.0], dtype=torch.float64), top_p=1.0).tolist() == [1]


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    # 0.6: ids 1 and 3 (0.4 + 0.3) are kept and drawn as 4/7 and 3/7
    assert drawn(0.0, 0.57, 0.58, 0.999, top_p=0.6) == [1, 1, 3, 3]
    # 0.75: 1, 3 and 4 (0.9 in all): limits at 4/9 and 7/9
    assert drawn(0.44, 0.45, 0.77, 0.78, top_p=0.75) == [1, 3, 3, 4]
    assert drawn(0.0, 0.5, 0.999, top_p=0.001) == [1, 1, 1]  # greedy


@pytest.mark.parametrize("top_p", [1.0, 0.95])
def test_frequencies_are_the_probabilities(top_p: float) -> None:
    numbers = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    logprobs = torch.tensor([[math.log(p) if p else -math.inf for p in PROBABILITIES]]).expand(10_000, -1)
    counts = torch.bincount(draw(logprobs, numbers, top_p=top_p), minlength=5) / 10_000
    kept = [0.1, 0.4, 0.0, 0.3, 0.2]  # all four are needed to reach 0.95
    assert counts.tolist() == pytest.approx(kept, abs=2e-4)
