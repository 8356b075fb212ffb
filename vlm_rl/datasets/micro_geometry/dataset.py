"""`dataset=micro_geometry`: procedural geometry problems, endless, each a pure function of (root seed, split, index)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

from vlm_rl.datasets.micro_geometry.figures import Figure
from vlm_rl.datasets.micro_geometry.problems import KINDS, POINT_NAMES, draw_numbers, exact_result
from vlm_rl.datasets.micro_geometry.solutions import REFLECTIONS, SolutionStyle, worked_solution
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.randomness import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroGeometry(Sequence[Row]):
    """One split; its rows are drawn on access.

    Kinds and modalities alternate, so every split is balanced. `reserved` holds content keys that this
    split must not contain: training never yields a problem of validation or test.
    """

    split: str
    num_rows: int
    data_seed: int
    solutions: SolutionStyle
    carry_share: float
    reserved: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return self.num_rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(len(self)))]
        return self._row(range(len(self))[index])

    def content_keys(self) -> frozenset[str]:
        """The content keys of all rows of this split."""
        return frozenset(row.content_key for row in self)

    def _row(self, index: int) -> Row:
        attempt = 0
        while (row := self._draw(index, attempt)).content_key in self.reserved:
            attempt += 1
        return row

    def _draw(self, index: int, attempt: int) -> Row:
        rng = stream(self.data_seed, "micro_geometry", self.split, index, attempt)
        kind = KINDS[index % len(KINDS)]
        modality = ("text", "vision")[index // len(KINDS) % 2]
        out_of_distribution = self.split == "test"
        carry = out_of_distribution or bool(rng.random() < self.carry_share)
        first, second = draw_numbers(kind, rng, carry=carry)
        points = POINT_NAMES[rng.integers(len(POINT_NAMES))]
        wording = (0, 2 if out_of_distribution else 1)[rng.integers(2)]
        question = getattr(kind, modality)[wording].format(*points, a=first, b=second)
        care = self.solutions.draw(rng)
        reflection = REFLECTIONS[rng.integers(len(REFLECTIONS))]
        labels = (str(first), str(second)) if modality == "vision" else ("", "")
        figure = Figure(kind=kind.name, points=points, labels=labels, bend=float(rng.random()), hue=float(rng.random()))
        return Row(
            id=f"{self.split}-{index}",
            question=IMAGE_MARKER + question,
            answer=str(kind.answer(exact_result(first, second, subtracts=kind.subtracts))),
            solution=worked_solution(kind, (first, second), points, care=care, reflection=reflection),
            images=(figure,),
            kind=kind.name,
            modality=modality,
            fields={"carry": "yes" if carry else "no", "wording": "new" if wording == 2 else "known"},
        )


class MicroGeometrySource:
    """The three splits; training problems are never those of validation or test."""

    def __init__(
        self, *, train_rows: int, val_rows: int, test_rows: int, data_seed: int, solutions: SolutionStyle, carry_share: float
    ) -> None:
        made = partial(MicroGeometry, data_seed=data_seed, solutions=solutions, carry_share=carry_share)
        val, test = made(split="val", num_rows=val_rows), made(split="test", num_rows=test_rows)
        reserved = val.content_keys() | test.content_keys()
        self._splits = {"train": made(split="train", num_rows=train_rows, reserved=reserved), "val": val, "test": test}

    def rows(self, split: str) -> Sequence[Row]:
        """The rows of a split, drawn on access."""
        return self._splits[split]
