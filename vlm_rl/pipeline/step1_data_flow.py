"""Step I of Fig. 2: rows become query batches.

The order of rows is a pure function of (root seed, epoch), and the flow starts from any generation step: an ordinary
DataLoader replays the first batches of an epoch after a restart.
"""

from collections.abc import Iterator

from torch.utils.data import IterableDataset

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.randomness import stream
from vlm_rl.stopwatch import Stopwatch
from vlm_rl.types import QueryBatch


class DataFlow(IterableDataset[QueryBatch]):
    """The query batches of this rank, from a generation step to the last one. `batch_size`: queries of a step, over all ranks."""

    def __init__(
        self,
        *,
        dataset: Dataset,
        encoder: PromptEncoder,
        batch_size: int,
        seed: int,
        stopwatch: Stopwatch,
        looks_ahead: bool = False,
    ) -> None:
        self._looks_ahead = looks_ahead
        self.upcoming: QueryBatch | None = None  # the batch of the step after the one that is out, where it looks ahead
        self._dataset, self._encoder, self._seed, self._stopwatch = dataset, encoder, seed, stopwatch
        self.batch_size, self.first_step, self.rank, self.num_ranks = batch_size, 0, 0, 1
        self.ends_after: int | None = None  # generation steps, of a run that ends early; callbacks/bottleneck.py

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training rows; the last incomplete one is dropped."""
        return len(self._dataset.train) // self.batch_size

    @property
    def num_steps(self) -> int:
        """Generation steps of the whole run."""
        return self.ends_after or self.steps_per_epoch * self._dataset.epochs

    def start(self, *, first_step: int, rank: int, num_ranks: int) -> None:
        """Where to begin, and which rows are this rank's: every `num_ranks`-th."""
        self.first_step, self.rank, self.num_ranks = first_step, rank, num_ranks

    def __len__(self) -> int:
        return self.num_steps - self.first_step

    def __iter__(self) -> Iterator[QueryBatch]:
        self.upcoming = None
        for step in range(self.first_step, self.num_steps):
            with self._stopwatch.measure("step1_data_flow"):
                queries = self.upcoming or self.queries(step)
                has_next = self._looks_ahead and step + 1 < self.num_steps
                self.upcoming = self.queries(step + 1) if has_next else None
            yield queries

    def queries(self, step: int) -> QueryBatch:
        """This rank's share of the batch of one generation step."""
        chosen = self.global_order(step)
        indices = range(self.rank, len(chosen), self.num_ranks)
        return self._encoder.batch([self._dataset.train[chosen[i]] for i in indices], indices=indices, step=step)

    def global_order(self, step: int) -> list[int]:
        """Places in the training rows of the rows of one generation step, over all ranks."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = stream(self._seed, "row_order", epoch).permutation(len(self._dataset.train))
        chosen: list[int] = order[place * self.batch_size : (place + 1) * self.batch_size].tolist()
        return chosen
