"""Scored responses whose tokens say where they come from."""

from collections.abc import Sequence

import torch

from vlm_rl.types import ImageInput, Samples

GROUP, PAD = 2, 7
Values = Sequence[tuple[float, float]]  # of each query of a generation step, the values of its two responses


def sampled(
    values: Values, *, rank: int = 0, num_ranks: int = 1, accuracy: Values | None = None
) -> tuple[Samples, dict[str, list[float]]]:
    """The share of a rank: queries of 1 + query % 3 tokens, responses of 1 + sample; a token says 10 x query + sample.

    With the term `accuracy` of the reward, which is the score unless it is given.
    """
    rows = [(query, sample) for query in range(rank, len(values), num_ranks) for sample in range(GROUP)]
    lengths = torch.tensor([1 + query % 3 for query, _ in rows])
    response_mask = torch.arange(GROUP) <= torch.tensor([[sample] for _, sample in rows])
    width = int(lengths.max())
    mask = torch.cat([torch.arange(width) >= width - lengths[:, None], response_mask], dim=1)
    token = torch.tensor([[10 * query + sample] for query, sample in rows])
    scores = [float(values[query][sample]) for query, sample in rows]
    told = [float((accuracy or values)[query][sample]) for query, sample in rows]
    samples = Samples(
        indices=torch.tensor([query * GROUP + sample for query, sample in rows]),
        input_ids=torch.where(mask, token, PAD),
        attention_mask=mask,
        mm_token_type_ids=torch.zeros_like(mask).long(),
        position_ids=((mask.cumsum(1) - 1) * mask).expand(3, -1, -1),
        images=tuple(ImageInput(key=str(query), inputs={}, features=None) for query, _ in rows),
        response_mask=response_mask,
        terminated=torch.ones(len(rows), dtype=torch.bool),
        scores=torch.tensor(scores),
        engine_logprobs=-(token * response_mask).float(),
    )
    return samples, {"accuracy": told}
