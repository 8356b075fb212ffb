"""The questions of a split and all that the data says of each: what accuracy can be broken down by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

QUESTION_COLUMNS = ("row_id", "image_id", "kind", "modality", "fields")
NAMED = ("modality", "kind")  # what every row says of itself


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of a split, ordered by row id. Evaluations of the same questions share one object."""

    row_id: tuple[str, ...]
    image_id: tuple[str, ...]  # "" without a figure
    kind: tuple[str, ...]
    modality: tuple[str, ...]
    fields: tuple[str, ...] = ()  # JSON object of what else is known of a row; none at all in older files

    @property
    def asked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What must agree for answers to be compared: the questions and the figures shown with them."""
        return self.row_id, self.image_id

    def images(self) -> list[str]:
        """The cluster of each question: its image, or itself where it has none."""
        return [image or row for image, row in zip(self.image_id, self.row_id, strict=True)]

    def names(self) -> tuple[str, ...]:
        """Every field of a row that says something: `modality`, `kind` and then any other, by name."""
        named = [name for name in NAMED if any(self.values(name))]
        return (*named, *sorted({name for fields in self._fields for name in fields} - set(NAMED)))

    def values(self, name: str) -> list[str]:
        """A field of each question, "" where it has none: `modality`, `kind` or any key of `fields`."""
        if name in NAMED:
            return list(self.modality if name == "modality" else self.kind)
        return [fields.get(name, "") for fields in self._fields] or [""] * len(self.row_id)

    @cached_property
    def _fields(self) -> list[Mapping[str, str]]:
        return [fields_of(text) for text in self.fields]


def fields_of(text: str) -> dict[str, str]:
    """The further fields of a row, from the column `fields`; what is no JSON object says nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    plain = found.items() if isinstance(found, dict) else ()
    return {name: text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for name, text in plain}
