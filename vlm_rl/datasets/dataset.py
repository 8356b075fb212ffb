"""A data set as the training loop sees it: three splits, the prompt and the batch sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

from vlm_rl.datasets.picture import shrunk, shrunk_size
from vlm_rl.datasets.row import LazyRows, Row
from vlm_rl.datasets.row_check import leave_out
from vlm_rl.datasets.selection import Selection, Wanted, select
from vlm_rl.datasets.shown import listing, shown

SPLITS = ("train", "val", "test")


@runtime_checkable
class Source(Protocol):
    """Where rows come from; each format has its own class."""

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
    max_pixels: int | None  # of a picture; a larger one is shrunk here, before trainer and engine see it. None: as it is
    evaluation_rows: int | None  # the first so many of val and test; None: all
    on_bad_row: str  # "error" or "skip"
    ppo_batch_size: int | None = None  # queries of one optimizer step, over all ranks; conf/algorithm/ divides by it
    checked_rows: int | None = None  # of each split before training; None: all. For endless procedural sets
    filter: Mapping[str, Wanted | None] | None = None  # split -> field -> the values that its rows may have
    subset: Mapping[str, int | None] | None = None  # split -> so many rows, drawn after the filter
    subset_seed: int = 0  # not the run's: all seeds of a study learn from and answer the same rows
    _rows: dict[str, Sequence[Row]] = field(default_factory=dict, init=False, repr=False)
    _unused_lists: dict[str, None] = field(default_factory=dict, init=False, repr=False)
    _selections: dict[str, Selection] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("error", "skip"):
            raise ValueError(f"dataset.on_bad_row is {shown(self.on_bad_row)}; it is either error or skip.")
        if "{question}" not in self.prompt:
            raise ValueError(
                f"dataset.prompt {shown(self.prompt)} has no {{question}}: the model would never see the question."
            )
        if self.max_pixels is not None and self.max_pixels < 1:
            raise ValueError(f"dataset.max_pixels={self.max_pixels} leaves no picture; null means no budget.")
        for key, setting in (("filter", self.filter), ("subset", self.subset)):
            if unknown := sorted({*(setting or {})} - {*SPLITS}):
                raise ValueError(f"dataset.{key} names {listing(unknown)}; the splits are {', '.join(SPLITS)}.")

    def prompt_for(self, row: Row) -> str:
        """The user's turn, image markers included. Braces of the question are text, not format fields."""
        return self.prompt.replace("{question}", row.question)

    def pictures(self, row: Row) -> list[Image.Image]:
        """The row's pictures, RGB, at most `max_pixels` each. Processor and engine see these and no others."""
        return [shrunk(image.load(), max_pixels=self.max_pixels) for image in row.images]

    def picture_sizes(self, row: Row) -> list[tuple[int, int]]:
        """(width, height) of `pictures(row)`, from headers alone."""
        return [shrunk_size(image.size, max_pixels=self.max_pixels) for image in row.images]

    @property
    def train(self) -> Sequence[Row]:
        """The training rows."""
        return self.split("train")

    def split(self, name: str) -> Sequence[Row]:
        """The rows of a split; of val and test the first `evaluation_rows`."""
        if name not in self._rows:
            rows = self._selected(name)
            self._rows[name] = rows if name == "train" or self.evaluation_rows is None else rows[: self.evaluation_rows]
        return self._rows[name]

    def selection(self, name: str) -> Selection | None:
        """The result of dataset.filter and dataset.subset, for the manifest; None where neither is set for the split."""
        self.split(name)
        return self._selections.get(name)

    def _selected(self, name: str) -> Sequence[Row]:
        rows = self._readable(name)
        wanted, size = (self.filter or {}).get(name), (self.subset or {}).get(name)
        if not wanted and size is None:
            return rows
        chosen = select(rows, split=name, wanted=wanted, size=size, seed=self.subset_seed)
        print(f"{self.name}: {len(chosen.rows)} of {len(rows)} rows of {name} are used (selection {chosen.hash}).", flush=True)
        self._selections[name] = chosen
        return chosen.rows

    def _readable(self, name: str) -> Sequence[Row]:
        """The rows of the source that can be read. `on_bad_row` says whether another one is an error."""
        rows = self.source.rows(name)
        if not isinstance(rows, LazyRows):
            return rows
        if new := [column for column in rows.unused_lists if column not in self._unused_lists]:  # printed once
            self._unused_lists |= dict.fromkeys(new)
            print(f"{self.name}: {unused_sentence(new)}", flush=True)
        survey = rows.survey()
        count = f"{len(survey.problems)} of {len(rows)} rows of split {name!r}"
        left_out = "cannot be read and are left out"
        leave_out(survey.problems, count=count, fault="cannot be read", left_out=left_out, on_bad_row=self.on_bad_row)
        return survey.rows

    @property
    def unused_lists(self) -> Sequence[str]:
        """List columns of the loaded splits that no part of a row uses."""
        return list(self._unused_lists)

    def keep(self, name: str, rows: Sequence[Row]) -> None:
        """Replace a split by its rows that passed the checks."""
        self._rows[name] = rows

    def check_step(self, size: int) -> None:
        """Raise ValueError if an epoch has no generation step of `size` queries, the sampled ones or `batch_size`."""
        if size > len(self.train):
            oversampled = "" if size == self.batch_size else f" ({size} with algorithm.dynamic_sampling.oversample)"
            raise ValueError(
                f"dataset.batch_size={self.batch_size}{oversampled} is more than the {len(self.train)} training rows: an epoch would "
                f"have no step. The largest that works: {len(self.train) * self.batch_size // size}."
            )


def unused_sentence(names: Sequence[str]) -> str:
    """The message about list columns that no part of a row uses."""
    several = len(names) > 1
    return (
        f"the list{'s' * several} in {', '.join(map(repr, names))} {'are' if several else 'is'} not used. "
        "Options are asked where dataset.source.columns.options names their column."
    )


def check_shares(batch_size: int, *, num_ranks: int, num_sampled: int) -> None:
    """Raise ValueError naming the nearest sizes if the ranks cannot share the queries of a step equally."""
    if num_sampled % num_ranks:
        below = num_sampled // num_ranks * num_ranks
        nearest = " or ".join(str(size) for size in (below, below + num_ranks) if size)
        if num_sampled != batch_size:
            raise ValueError(
                f"The {num_sampled} queries of a generation step (dataset.batch_size={batch_size} x algorithm.dynamic_sampling.oversample) "
                f"cannot be shared out over {num_ranks} ranks. Change either so that they are {nearest}."
            )
        raise ValueError(f"dataset.batch_size={batch_size} cannot be shared out over {num_ranks} ranks. Nearest: {nearest}.")
