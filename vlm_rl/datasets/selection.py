"""The part of a split that a run uses: rows with wanted values, and a random subset with a seed of its own."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from vlm_rl.datasets.row import LazyRows, Row
from vlm_rl.datasets.shown import listing, shown
from vlm_rl.randomness import stream

LISTED = 20  # values named in a message
Wanted = Mapping[str, Any]  # field -> value, or list of values, as text or what prints like it


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected rows of a split."""

    rows: Sequence[Row]
    num_dropped: int
    hash: str  # of the indices of the selected rows


def select(rows: Sequence[Row], *, split: str, wanted: Wanted | None, size: int | None, seed: int) -> Selection:
    """The rows with wanted values, then `size` of them at random, in order. A smaller subset is part of a larger one."""
    places = list(range(len(rows))) if not wanted else _matching(rows, split=split, wanted=wanted)
    if size is not None:
        if not 0 < size <= len(places):
            raise ValueError(
                f"dataset.subset.{split}={size}: between 1 and the {len(places)} rows that there are to draw from."
            )
        places = sorted(places[i] for i in stream(seed, "subset", split).permutation(len(places))[:size].tolist())
    return Selection(
        rows=LazyRows(rows.__getitem__, indices=places),
        num_dropped=len(rows) - len(places),
        hash=hashlib.sha256(np.array(places, dtype="<i8").tobytes()).hexdigest()[:16],
    )


def _matching(rows: Sequence[Row], *, split: str, wanted: Wanted) -> list[int]:
    by_field = {field: _listed(values) for field, values in wanted.items()}
    fields: set[str] = set()
    texts: dict[str, list[str | None]] = {field: [] for field in by_field}  # of each row
    for row in rows:
        known = {**row.fields, "kind": row.kind, "modality": row.modality, "has_image": str(bool(row.images))}
        fields |= known.keys()
        for name in by_field:
            texts[name].append(known.get(name))
    fitting = {}
    for name, values in by_field.items():
        key, seen = f"dataset.filter.{split}.{name}", Counter(text or "" for text in texts[name])
        fitting[name] = _fitting(key, field=name, values=values, fields=fields, seen=seen)
    places = [i for i in range(len(rows)) if all(texts[field][i] in fitting[field] for field in by_field)]
    if not places:
        raise ValueError(
            f"dataset.filter.{split} leaves none of {len(rows)} rows: no row has all of {shown(by_field, most=300)}."
        )
    return places


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, Sequence) and not isinstance(values, str) else [values]


def _fitting(key: str, *, field: str, values: Sequence[Any], fields: set[str], seen: Counter[str]) -> set[str]:
    """The texts equal to a wanted value. A number without an equal text matches the texts of the same number: 20 is 20.0."""
    if field not in fields:
        raise ValueError(f"{key}: no row has a field {shown(field)}. There are {listing(sorted(fields))}.")
    fitting = {str(value): {str(value)} & seen.keys() or {text for text in seen if _is_same(text, value)} for value in values}
    if missing := sorted(value for value, texts in fitting.items() if not texts):
        there = ", ".join(f"{shown(value, most=60)} ({n})" for value, n in seen.most_common(LISTED))
        more = f" and {len(seen) - LISTED} more" if len(seen) > LISTED else ""
        raise ValueError(f"{key}: no row has {' or '.join(map(shown, missing[:LISTED]))}. There are {there}{more}.")
    return set().union(*fitting.values())


def _is_same(text: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return Decimal(text) == Decimal(str(value))
    except InvalidOperation:
        return False
