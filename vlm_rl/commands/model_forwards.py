"""One forced response after a prompt of each kind, three ways: by training, by sampling, and by the model's own forward in Transformers."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.family import TOKEN_TYPES, arguments
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompt_sharing import hidden_of
from vlm_rl.models.vision import in_dtype_of
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.slots import prefilled
from vlm_rl.rollout.written import finish
from vlm_rl.types import QueryBatch

NUM_SEARCHED = 1000  # rows of a split
RESPONSE = " First, AB = 3 and BC = 4, so AC = 5 by the law of cosines."  # forced after each prompt
NUM_TOKENS = 12  # of it


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A policy with the rows that it is to read, and the difference in nats that is allowed (parity.tolerance)."""

    policy: Policy
    encoder: PromptEncoder
    rows: Sequence[Row]
    tolerance: float


def loaded_model(policy: Policy, encoder: PromptEncoder, dataset: Dataset, *, tolerance: float) -> LoadedModel:
    """The policy with a row of each kind that the data set has, of whatever split, and one more, so that shorter prompts are padded."""
    rows = [row for name in SPLITS for row in itertools.islice(dataset.split(name), NUM_SEARCHED)]
    chosen = examples(rows)
    chosen += [row for row in rows if len(row.question) != len(chosen[0].question)][:1]
    return LoadedModel(policy=policy, encoder=encoder, rows=chosen, tolerance=tolerance)


def examples(rows: Iterable[Row]) -> list[Row]:
    """The first row with no image, with one and with several: families differ in all three."""
    found: dict[int, Row] = {}
    for row in rows:
        found.setdefault(min(2, len(row.images)), row)
    return list(found.values())


def response_ids(model: LoadedModel) -> list[int]:
    """The forced response."""
    ids: list[int] = model.policy.processor.tokenizer(RESPONSE, add_special_tokens=False)["input_ids"]
    return ids[:NUM_TOKENS]


def by_training(model: LoadedModel, ids: Sequence[int]) -> Float[Tensor, "row token vocab"]:
    """Log-probabilities before each token of the response and after the last, from one padded forward."""
    policy, queries = model.policy, _queries(model)
    responses = finish(policy, torch.tensor([ids] * len(model.rows), device=policy.device), _zeros(model, ids), 1)
    samples = concatenate(queries, responses, scores=torch.zeros(len(model.rows)))
    hidden = hidden_of(policy, samples)
    return torch.stack([policy.next_token_logprobs(row, temperature=1.0) for row in hidden[:, -len(ids) - 1 :]])


def by_sampling(model: LoadedModel, ids: Sequence[int]) -> Float[Tensor, "row token vocab"]:
    """The same, a token at a time through the cache."""
    *_, slots = prefilled(model.policy, _queries(model), num_samples=1, num_tokens=len(ids))
    found = [model.policy.next_token_logprobs(slots.hidden, temperature=1.0)]
    for token in ids:
        slots.decode(torch.full((len(model.rows),), token, device=model.policy.device))
        found.append(model.policy.next_token_logprobs(slots.hidden, temperature=1.0))
    return torch.stack(found, dim=1)


def by_transformers(model: LoadedModel, row: Row, ids: Sequence[int]) -> Float[Tensor, "token vocab"]:
    """The same of one prompt alone, by the model's own forward, positions and pixels."""
    policy = model.policy
    output: dict[str, Any] = model.encoder.prompts.process(row).to(policy.device)
    response = torch.tensor([ids], device=policy.device)
    longer = {name: torch.zeros_like(response) for name in TOKEN_TYPES if name in output}
    for name, more in {"input_ids": response, "attention_mask": torch.ones_like(response), **longer}.items():
        output[name] = torch.cat([output[name], more.to(output[name].dtype)], dim=1)
    kept = arguments(policy.vlm.forward, {"logits_to_keep": len(ids) + 1})
    with policy.autocast():
        logits: Tensor = policy.vlm(**in_dtype_of(policy.vlm, output), **kept).logits[0, -len(ids) - 1 :].float()
    return logits.masked_fill(policy.banned[: logits.shape[-1]], -torch.inf).log_softmax(-1)


def _queries(model: LoadedModel) -> QueryBatch:
    return model.encoder.batch(model.rows, indices=range(len(model.rows)), step=0).to(model.policy.device)


def _zeros(model: LoadedModel, ids: Sequence[int]) -> Tensor:
    return torch.zeros(len(model.rows), len(ids), device=model.policy.device)
