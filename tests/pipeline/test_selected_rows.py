"""Rows of a batch, field by field as their types declare the axes, against a loop over single rows."""

import typing
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from vlm_rl.datasets.row import Row
from vlm_rl.types import ImageInput, MiniBatch, QueryBatch, Samples, Trajectory, extended, select

AnyBatch: TypeAlias = QueryBatch | Samples  # or what is made of samples
SIZES = {"axis": 3, "batch": 5, "query": 6, "sequence": 10, "response": 4}
QUERIES = (3, 6, 1, 4, 2)  # tokens of each row's query
RESPONSES = (2, 1, 4, 3, 0)
KINDS = (QueryBatch, Samples, Trajectory, MiniBatch)
CHOSEN = ([2], [4, 0], [3, 3, 1], slice(0, 2), slice(2, 5), slice(0, 99))


def axes_of(kind: type, name: str) -> tuple[str, ...] | None:
    """The axes that a field is declared with; None for one that has no rows."""
    hint = typing.get_type_hints(kind)[name]
    members = [member for member in (typing.get_args(hint) or (hint,)) if hasattr(member, "dim_str")]
    if members:
        return tuple(members[0].dim_str.split())
    return ("batch",) if typing.get_origin(hint) is tuple else None


def masks() -> dict[str, Tensor]:
    """Queries end and responses begin in the middle."""
    query = torch.arange(6) >= 6 - torch.tensor(QUERIES)[:, None]
    response = torch.arange(4) < torch.tensor(RESPONSES)[:, None]
    return {"query": query, "response": response, "sequence": torch.cat([query, response], dim=1)}


def value_of(kind: type, name: str) -> Any:
    """Numbers that are all different; Boolean where the type says so, as masks or as a coin of each row."""
    axes, hint = axes_of(kind, name), typing.get_type_hints(kind)[name]
    if axes is None:
        return 7
    if typing.get_origin(hint) is tuple:
        if name == "rows":
            return tuple(Row(id=str(i), question="?", answer="1", solution=None, images=()) for i in range(5))
        if name == "images":
            return tuple(ImageInput(key=str(i), inputs={}, features=None) if i != 3 else None for i in range(5))
        return tuple(range(10, 15))
    if name == "attention_mask":
        return masks()["query" if kind is QueryBatch else "sequence"]
    if name == "response_mask":
        return masks()["response"]
    shape = [SIZES[axis] for axis in axes]
    numbers = torch.arange(torch.Size(shape).numel()).view(shape)
    text = str(hint)
    return numbers % 2 == 0 if "Bool" in text else numbers.float() if "Float" in text else numbers


def made(kind: type) -> Any:
    """A batch of five rows."""
    return kind(**{field.name: value_of(kind, field.name) for field in fields(kind)})


def window_of(rows: Sequence[int], axis: str) -> list[int]:
    """The columns of an axis that any of the rows needs, one after the other."""
    if axis in ("batch", "axis"):
        return list(rows) if axis == "batch" else [0, 1, 2]
    mask = masks()[axis]
    used = [column for column in range(mask.shape[1]) if any(mask[row, column] for row in rows)]
    return list(range(used[0], used[-1] + 1)) if used else []


def expected(value: Any, axes: tuple[str, ...], rows: Sequence[int]) -> Any:
    """By a loop over the axes, one column at a time."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(value[row] for row in rows)
    for place, axis in enumerate(axes):
        columns = window_of(rows, axis)
        value = torch.stack([value.select(place, c) for c in columns], place) if columns else value.narrow(place, 0, 0)
    return value


def same(left: Any, right: Any) -> bool:
    """Equal in kind, shape and numbers."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    return bool(left == right)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", CHOSEN, ids=str)
def test_every_field_has_the_chosen_rows_and_the_columns_that_they_need(kind: type, chosen: list[int] | slice) -> None:
    batch, rows = made(kind), list(range(5))[chosen] if isinstance(chosen, slice) else chosen
    part = select(batch, chosen if isinstance(chosen, slice) else torch.tensor(chosen))
    assert type(part) is kind
    for field in fields(kind):
        axes, value = axes_of(kind, field.name), getattr(batch, field.name)
        wanted = value if axes is None else expected(value, axes, rows)
        assert same(getattr(part, field.name), wanted), field.name


@pytest.mark.parametrize("kind", [Samples, Trajectory, MiniBatch])
def test_no_rows_leave_no_responses(kind: type) -> None:
    """A rank may have no share of a mini-batch. No width is asked of the queries: nobody reads them."""
    part = select(made(kind), torch.tensor([], dtype=torch.long))
    assert len(part) == 0 and part.images == ()
    for field in fields(kind):
        value, axes = getattr(part, field.name), axes_of(kind, field.name)
        assert axes is None or len(value) == (3 if axes[0] == "axis" else 0), field.name
        assert axes is None or axes[-1] != "response" or value.shape == (0, 0), field.name


def test_what_is_not_known_stays_unknown() -> None:
    names = [f.name for f in fields(MiniBatch) if type(None) in typing.get_args(typing.get_type_hints(MiniBatch)[f.name])]
    assert names == ["old_logprobs", "ref_logprobs", "rollout_weights"]
    for missing in names:
        part = select(replace(made(MiniBatch), **{missing: None}), torch.tensor([1, 3]))
        assert [name for name in names if getattr(part, name) is None] == [missing]


def test_a_batch_that_is_extended_has_the_same_rows_and_what_is_new() -> None:
    samples, whole = made(Samples), made(MiniBatch)
    known = {field.name: getattr(whole, field.name) for field in fields(Trajectory) if not hasattr(samples, field.name)}
    trajectory = extended(samples, Trajectory, **known)
    assert type(trajectory) is Trajectory
    assert all(getattr(trajectory, field.name) is getattr(samples, field.name) for field in fields(Samples))
    assert all(getattr(trajectory, name) is value for name, value in known.items())
