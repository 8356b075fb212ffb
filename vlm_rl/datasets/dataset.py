"""What the loop knows of a data set: its three splits, how a row is put to the model, and how much of it a step takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vlm_rl.datasets.row import Row

SPLITS = ("train", "val", "test")


@runtime_checkable
class Source(Protocol):
    """Where rows come from: one small class for each origin."""

    def rows(self, split: str) -> Sequence[Row]:
        """The rows of `train`, `val` or `test`, always in the same order."""


@dataclass(kw_only=True)
class Dataset:
    """A source of rows with the settings that belong to it."""

    name: str
    source: Source
    prompt: str  # `{question}` is replaced by the row's question
    batch_size: int  # queries of one generation step, over all ranks
    epochs: int
    max_prompt_tokens: int  # image tokens included
    max_new_tokens: int
    evaluation_rows: int | None  # the first so many of val and test; None: all
    on_bad_row: str  # "error" or "skip"
    ppo_batch_size: int | None = None  # queries of one optimizer step, over all ranks; conf/algorithm/ divides by it
    checked_rows: int | None = None  # of each split before training; None: all. For endless procedural sets
    _rows: dict[str, Sequence[Row]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("error", "skip"):
            raise ValueError(f"dataset.on_bad_row is {self.on_bad_row!r}; it is either error or skip.")
        if "{question}" not in self.prompt:
            raise ValueError(f"dataset.prompt {self.prompt!r} has no {{question}}: the model would never see the question.")

    def prompt_for(self, row: Row) -> str:
        """The user's turn, image markers included. Braces of the question are text, not format fields."""
        return self.prompt.replace("{question}", row.question)

    @property
    def train(self) -> Sequence[Row]:
        """What the policy learns from."""
        return self.split("train")

    def split(self, name: str) -> Sequence[Row]:
        """The rows of a split; val and test as far as they are evaluated."""
        if name not in self._rows:
            rows = self.source.rows(name)
            self._rows[name] = rows if name == "train" or self.evaluation_rows is None else rows[: self.evaluation_rows]
        return self._rows[name]

    def keep(self, name: str, rows: Sequence[Row]) -> None:
        """What is left of a split after the check of its rows."""
        self._rows[name] = rows

    def check_sizes(self, *, num_ranks: int) -> None:
        """Sizes that do not divide are an error that names the nearest ones."""
        if self.batch_size > len(self.train):
            raise ValueError(
                f"dataset.batch_size={self.batch_size} is more than the {len(self.train)} training rows: an epoch would have no "
                f"step. The largest that works: {len(self.train)}."
            )
        if self.batch_size % num_ranks:
            below = self.batch_size // num_ranks * num_ranks
            nearest = [str(size) for size in (below, below + num_ranks) if size]
            raise ValueError(
                f"dataset.batch_size={self.batch_size} cannot be shared out over {num_ranks} ranks. Nearest: {' or '.join(nearest)}."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training rows; the last incomplete one is dropped."""
        return len(self.train) // self.batch_size

    @property
    def num_steps(self) -> int:
        """Generation steps of the whole run."""
        return self.steps_per_epoch * self.epochs
