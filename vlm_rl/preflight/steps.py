"""How long a run is, counted: generation steps, gradient steps, responses."""

from dataclasses import dataclass

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.datasets.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Of one run, from what is left of its training rows."""

    train_rows: int
    batch_size: int  # queries of one generation step
    epochs: int
    group_size: int  # responses to each query
    updates_per_step: int
    batch_size_of_update: int  # queries that its update learns from; fewer with dynamic sampling

    @classmethod
    def of(cls, dataset: Dataset, algorithm: Algorithm) -> "Steps":
        """The same numbers as the run itself takes."""
        return cls(
            train_rows=len(dataset.train),
            batch_size=algorithm.queries_of_step(dataset.batch_size),
            epochs=dataset.epochs,
            group_size=algorithm.group_size,
            updates_per_step=algorithm.num_updates,
            batch_size_of_update=dataset.batch_size,
        )

    @property
    def per_epoch(self) -> int:
        """Generation steps of an epoch: whole batches only."""
        return self.train_rows // self.batch_size

    @property
    def generation_steps(self) -> int:
        """Of the whole run."""
        return self.per_epoch * self.epochs

    @property
    def gradient_steps(self) -> int:
        """Updates of the whole run."""
        return self.generation_steps * self.updates_per_step

    def lines(self) -> list[str]:
        """In words."""
        left_over = self.train_rows - self.per_epoch * self.batch_size
        responses = self.batch_size * self.group_size
        lines = [
            f"Steps: {self.train_rows:,} training rows in batches of {self.batch_size:,} = {self.per_epoch:,} generation steps an epoch "
            f"({left_over:,} rows of each epoch are left over), {self.per_epoch * self.updates_per_step:,} updates an epoch.",
            f"In all: {self.epochs:,} epochs = {self.generation_steps:,} generation steps of {responses:,} responses "
            f"({self.generation_steps * responses:,}) and {self.updates_per_step:,} updates ({self.gradient_steps:,}).",
        ]
        selecting = (
            f"Dynamic sampling: each step learns from {self.batch_size_of_update:,} of its {self.batch_size:,} queries, first from those "
            "whose responses differ (algorithm.dynamic_sampling)."
        )
        return [*lines, selecting] if self.batch_size != self.batch_size_of_update else lines
