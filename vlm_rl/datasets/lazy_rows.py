"""Rows that are made when they are asked for: a large set costs the memory of its index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from vlm_rl.datasets.row import Row


class BadRow(ValueError):
    """A row that cannot be made from its source: where it stands, why, and what to do."""


class LazyRows(Sequence[Any]):  # of Row; said so, a checker of types would make one, and a bad one raises
    """`build` of each index in turn; a slice is lazy too."""

    def __init__(self, build: Callable[[int], Row], *, indices: Sequence[int], unused_lists: Sequence[str] = ()) -> None:
        self._build, self._indices = build, indices
        self.unused_lists = unused_lists  # columns of their source that hold lists and are no part of a row

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyRows": ...
    def __getitem__(self, index: int | slice) -> "Row | LazyRows":
        if isinstance(index, slice):
            return LazyRows(self._build, indices=self._indices[index])
        return self._build(self._indices[index])

    def survey(self) -> "Survey":
        """Makes each row once, to find those that cannot be made."""
        usable, problems = [], []
        for index in self._indices:
            try:
                self._build(index)
            except BadRow as problem:
                problems.append(str(problem))
            else:
                usable.append(index)
        return Survey(rows=LazyRows(self._build, indices=usable) if problems else self, problems=tuple(problems))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The rows that can be made, and what is wrong with the others."""

    rows: LazyRows
    problems: tuple[str, ...]
