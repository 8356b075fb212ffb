"""The teacher as an engine: its "responses" are the worked solutions of the rows. This is what makes SFT an algorithm like
the others: the same loop, data, evaluation and report."""

import numpy as np
import torch

from vlm_rl.models.parts import PARTS
from vlm_rl.models.policy import Policy
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.written import finish
from vlm_rl.types import QueryBatch, ResponseBatch


class SolutionEngine:
    """Writes each row's solution and an end-of-sequence token; log-probabilities are unknown and given as 0."""

    synced_parts = frozenset(PARTS)  # nothing that is learned matters to what the teacher wrote

    def __init__(self) -> None:
        self._policy: Policy | None = None

    def load(self, policy: Policy) -> None:
        """Only its tokenizer is used."""
        self._policy = policy

    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """One solution for each row, cut at `max_new_tokens`."""
        assert self._policy is not None, "load() comes before generate()"
        if settings.num_samples != 1:
            raise ValueError("rollout=solutions has one solution for each row: set algorithm.group_size=1.")
        without = [row.id for row in queries.rows if not row.solution]
        if without:
            raise ValueError(
                f"Row {without[0]!r} has no worked solution, which algorithm=sft learns from, "
                "as every algorithm does that imitates solutions."
            )
        tokenizer = self._policy.processor.tokenizer
        stop = self._policy.stop_ids[0]
        texts = [[*tokenizer.encode(row.solution, add_special_tokens=False), stop] for row in queries.rows]
        ids = torch.full((len(texts), settings.max_new_tokens), -1)
        for i, text in enumerate(texts):
            cut = text[: settings.max_new_tokens]
            ids[i, : len(cut)] = torch.tensor(cut)
        ids = ids.to(self._policy.device)
        return finish(self._policy, ids, torch.zeros(ids.shape, device=ids.device), 1)
