"""Any files in the authors' JSONL format: question, answer, solution, id, image (relative to the file)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from vlm_rl.datasets.row import Row

REQUIRED = ("question", "answer", "id")
NAMED = frozenset({*REQUIRED, "solution", "image", "kind", "modality"})  # all else is a field for breakdowns
LONGEST_FIELD = 80  # characters; a longer text is no category


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A picture on disk, identified by its content."""

    path: Path

    @cached_property
    def _key(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def key(self) -> str:
        return self._key

    def load(self) -> Image.Image:
        with Image.open(self.path) as image:
            return image.convert("RGB")


def fields_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Further short fields of a row (level, source, ...), as text: any of them can break an accuracy down in the report."""
    short = {key: str(value) for key, value in item.items() if key not in NAMED and isinstance(value, str | int | float | bool)}
    return {key: value for key, value in short.items() if len(value) <= LONGEST_FIELD}


class JsonlSource:
    """One JSONL file for each split; `folder` is what their names are relative to."""

    def __init__(self, *, folder: str, files: Mapping[str, str]) -> None:
        self._folder, self._files = Path(folder), dict(files)

    def rows(self, split: str) -> Sequence[Row]:
        """All rows of a split's file."""
        path = self._folder / self._files[split]
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is not there (split {split!r}). dataset.source.folder must name the folder that holds "
                f"{', '.join(self._files.values())}."
            )
        try:
            lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: JSON strings may hold U+2028
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8.") from None
        return [self._row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]

    def _row(self, path: Path, number: int, line: str) -> Row:
        try:
            item: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error.msg} at column {error.colno}.") from None
        if not isinstance(item, dict):
            raise ValueError(f'{path}, line {number} is no JSON object; a row is one line like {{"id": ..., "question": ...}}.')
        missing = [key for key in REQUIRED if key not in item]
        if missing:
            raise ValueError(
                f"{path}, line {number} has no {missing[0]!r}. A row needs {', '.join(REQUIRED)} and, with a figure, image."
            )
        images = item.get("image") or []
        names = [images] if isinstance(images, str) else images
        return Row(
            id=str(item["id"]),
            question=str(item["question"]),
            answer=str(item["answer"]),
            solution=item.get("solution"),
            images=tuple(ImageFile(path=self._inside(path, number, name)) for name in names),
            kind=str(item.get("kind", "")),
            modality=str(item.get("modality", "")),
            fields=fields_of(item),
        )

    def _inside(self, path: Path, number: int, name: str) -> Path:
        image = (path.parent / name).resolve()
        if not image.is_relative_to(path.parent.resolve()):
            raise ValueError(
                f"{path}, line {number}: image {name!r} leaves the folder of the file; keep images beside or below it."
            )
        return image
