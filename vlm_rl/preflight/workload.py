"""The numbers of a run that memory and time depend on: what one rank does in one generation step, and how long its prompts are."""

import math
from dataclasses import dataclass

import numpy as np

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_scan import DataCheck
from vlm_rl.datasets.split_check import PromptLength


@dataclass(frozen=True, kw_only=True)
class PromptSizes:
    """How long the prompts of a data set are."""

    row: Row  # with the longest prompt of all splits: evaluation shares the device
    longest: PromptLength
    mean: PromptLength  # over the training rows


def prompt_sizes(dataset: Dataset, check: DataCheck) -> PromptSizes | None:
    """Of the usable rows; None where no training row is usable."""
    usable = {split: found.usable for split, found in check.splits.items()}
    if not usable["train"].any():
        return None
    tokens = {split: np.where(usable[split], found.prompt_tokens, 0) for split, found in check.splits.items()}
    split = max(tokens, key=lambda split: tokens[split].max(initial=0))
    found, train, place = check.splits[split], check.splits["train"], int(tokens[split].argmax())
    text, image = (round(values[usable["train"]].mean()) for values in (train.text_tokens, train.image_tokens))
    return PromptSizes(
        row=dataset.split(split)[int(found.places[place])],
        longest=PromptLength(text=int(found.text_tokens[place]), image=int(found.image_tokens[place])),
        mean=PromptLength(text=text, image=image),
    )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one rank does in one generation step."""

    dataset: Dataset
    algorithm: Algorithm
    prompts: PromptSizes
    forward_batch_size: int | None  # sequences that the embedded engine samples at a time; None: servers sample
    num_ranks: int
    on_gpu: bool  # pictures wait in the host's memory

    @property
    def batch_size(self) -> int:
        """Queries that the update learns from."""
        return max(1, self.dataset.batch_size // self.num_ranks)

    @property
    def num_queries(self) -> int:
        """Queries that are sampled; more than `batch_size` with dynamic sampling."""
        return max(self.batch_size, self.algorithm.queries_of_step(self.dataset.batch_size) // self.num_ranks)

    @property
    def num_responses(self) -> int:
        """Responses that the update learns from."""
        return self.batch_size * self.algorithm.group_size

    @property
    def mini_batch(self) -> int:
        """Responses of one optimizer step on the fullest rank: rows change ranks before it."""
        responses = self.dataset.batch_size * self.algorithm.group_size // self.algorithm.num_minibatches
        return max(1, math.ceil(responses / self.num_ranks))

    @property
    def chunk(self) -> int:
        """Queries that are sampled together."""
        assert self.forward_batch_size is not None, "servers sample"
        return min(self.num_queries, max(1, self.forward_batch_size // self.algorithm.group_size))

    def shared_within(self, max_tokens: int, *, num_responses: int, together: int) -> tuple[int, int]:
        """Prompts and responses to each, `together` of them at most, that fit into so many tokens where responses share their prompt."""
        prompt, response = self.prompts.longest.total, self.dataset.max_new_tokens
        of_each = max(1, min(together, num_responses, (max_tokens - prompt) // response))
        return max(1, min(num_responses // of_each, max_tokens // (prompt + of_each * response))), of_each

    def rows_within(self, max_tokens: int) -> int:
        """Responses of full length, to the longest prompt, that fit into a batch of so many tokens; one alone may exceed it."""
        return max(1, max_tokens // (self.prompts.longest.total + self.dataset.max_new_tokens))
