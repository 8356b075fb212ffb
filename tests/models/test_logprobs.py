import torch
from torch import nn

from vlm_rl.models.logprobs import policy_logprobs, token_statistics
from vlm_rl.models.policy import Policy

BANNED = torch.tensor([False, True, False, False, True, False, False])


def head_and_states(*, count: int = 11) -> tuple[nn.Linear, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Linear(5, len(BANNED), bias=False), torch.randn(count, 5)


def test_entropy_and_logprobs_are_those_of_a_categorical_over_the_allowed_ids_alone() -> None:
    head, hidden = head_and_states()
    allowed = torch.tensor([0, 2, 3, 5, 6])
    expected = torch.distributions.Categorical(logits=head(hidden)[:, allowed] / 0.7)
    chosen = torch.arange(11) % 5
    result = token_statistics(hidden, allowed[chosen], head=head, temperature=0.7, banned=BANNED)
    torch.testing.assert_close(result.entropy, expected.entropy())
    torch.testing.assert_close(result.logprobs, expected.log_prob(chosen))
    assert policy_logprobs(hidden, head=head, temperature=0.7, banned=BANNED).exp()[:, BANNED].eq(0).all()


def test_neither_values_nor_gradients_depend_on_the_chunks() -> None:
    head, hidden = head_and_states()
    ids = torch.full((11,), 3)
    seen = []
    for chunk_tokens in (1, 4, 100):
        states = hidden.clone().requires_grad_()
        head.zero_grad()
        result = token_statistics(states, ids, head=head, temperature=1.0, banned=BANNED, chunk_tokens=chunk_tokens)
        result.logprobs.square().sum().backward()
        assert states.grad is not None and head.weight.grad is not None
        seen.append((result.logprobs.detach(), result.entropy.detach(), states.grad, head.weight.grad.clone()))
    for other in seen[1:]:
        torch.testing.assert_close(seen[0], other)


def test_gradients_are_finite_although_banned_ids_have_infinite_logprobs_and_the_entropy_has_none() -> None:
    head, hidden = head_and_states()
    states = hidden.requires_grad_()
    result = token_statistics(states, torch.full((11,), 3), head=head, temperature=1.0, banned=BANNED)
    assert not result.entropy.requires_grad  # a figure to look at; its graph would cost memory
    result.logprobs.sum().backward()
    assert states.grad is not None and states.grad.isfinite().all()


def test_no_tokens_give_no_statistics() -> None:
    head, _ = head_and_states()
    result = token_statistics(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long), head=head, temperature=1.0, banned=BANNED)
    assert result.logprobs.shape == result.entropy.shape == (0,)


def test_the_policy_never_writes_vision_tokens(policy: Policy) -> None:
    tokens = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    ids = [i for i in policy.processor.tokenizer.convert_tokens_to_ids(tokens) if i is not None]
    assert len(ids) >= 3
    assert policy.banned[ids].all()
    assert int(policy.banned.sum()) == len(ids)
    assert not policy.banned[policy.stop_ids].any()
    states = torch.randn(3, policy.vlm.config.get_text_config().hidden_size)
    assert policy.next_token_logprobs(states, temperature=1.0)[:, policy.banned].exp().eq(0).all()
