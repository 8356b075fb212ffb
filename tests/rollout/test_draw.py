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


@pytest.mark.parametrize("vocab", [512, 513, 5000])
def test_among_many_ids_it_is_the_one_that_exact_sums_give(vocab: int) -> None:
    """Probabilities are rounded to float32 and added up by chunks: the place of a number may move by 1e-6 of its chunk."""
    generator = torch.Generator().manual_seed(vocab)
    logprobs = (3 * torch.randn(200, vocab, generator=generator)).log_softmax(-1)
    logprobs[:, ::7] = -math.inf
    numbers = torch.rand(200, dtype=torch.float64, generator=generator)
    numbers[:2] = torch.tensor([0.0, 1 - 2**-53])
    weights = logprobs.double().exp()
    cumulative = weights.cumsum(-1) / weights.sum(-1, keepdim=True)
    chosen = draw(logprobs, numbers, top_p=1.0)
    end = cumulative.gather(-1, chosen[:, None])[:, 0]
    begin = end - (weights / weights.sum(-1, keepdim=True)).gather(-1, chosen[:, None])[:, 0]
    assert weights.gather(-1, chosen[:, None]).gt(0).all()
    assert (numbers - begin).min() > -2e-6
    assert (end - numbers).min() > -2e-6


def test_top_p_of_each_row_and_over_more_ids_than_are_sorted_at_first() -> None:
    """300 equal ids: 0.499 of the probability is 150 of them; and one row keeps all."""
    logprobs = torch.full((3, 300), -math.log(300))
    every = [
        draw(logprobs, torch.full((3,), number / 1000, dtype=torch.float64), top_p=torch.tensor([0.499, 1.0, 0.001]))
        for number in range(1000)
    ]
    assert [len(torch.stack(every)[:, row].unique()) for row in range(3)] == [150, 300, 1]
