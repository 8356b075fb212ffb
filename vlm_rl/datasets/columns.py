"""Map the columns of a source to the parts of a row, and place its images in the question."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Any, Protocol, runtime_checkable

from vlm_rl.datasets.gold_rules import GoldRules
from vlm_rl.datasets.options import ANSWER_IS, KEY, AnswerIs, Options, options_of
from vlm_rl.datasets.picture import Picture
from vlm_rl.datasets.row import IMAGE_MARKER, BadRow, ImageSource, LazyRows, Row
from vlm_rl.datasets.row_text import cell, inside, is_missing, is_short, path_of, plain, text_of
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.written_picture import PictureFolder, names_in

NUMBER = "{n}"  # in a marker: `<image {n}>` is `<image 1>` for the first image, `<image 2>` for the second
USUAL_IMAGE_COLUMNS = ("image", "images", "file_name", "file_names", "image_path")
LONGEST_FIELD = 80  # characters; a longer text is not used for breakdowns
OPTIONS_KEY = "dataset.source.columns.options"
Images = tuple[ImageSource, ...]
NUMBERED_MARKER = re.compile(r"<image[ _]?\d+>")  # as MMMU marks its images


@cache
def pattern_of(marker: str) -> re.Pattern[str]:
    """The pattern of a marker. Its group is the number of the image, where markers are numbered."""
    return re.compile(re.escape(marker).replace(re.escape(NUMBER), r"(\d{1,3})"))


def marked(question: str, images: Images, *, marker: str, in_front: bool) -> tuple[str, Images]:
    """The question with one IMAGE_MARKER for each image, and the images in the order of the markers.

    A question without markers gets them in front. A numbered image may stand more than once, and in any order.

    Whether there are as many markers as images is checked later, by row_check.py.
    """
    pattern = pattern_of(marker)
    numbers = [int(found[1]) if pattern.groups else place for place, found in enumerate(pattern.finditer(question), start=1)]
    if not numbers:
        return IMAGE_MARKER * len(images) * in_front + question, images
    if pattern.groups:
        unnamed = tuple(image for place, image in enumerate(images, start=1) if place not in numbers)
        images = tuple(images[number - 1] for number in numbers if 0 < number <= len(images)) + unnamed
    return pattern.sub(IMAGE_MARKER, question), images


@runtime_checkable
class Table(Protocol):
    """What rows are made of: the lines of a file or the records of a table."""

    def __len__(self) -> int: ...

    def lists(self) -> Sequence[str]:
        """Names of the columns that hold lists."""

    def where(self, index: int) -> str:
        """File and line, or table and row, for messages."""

    def item(self, index: int) -> Mapping[str, Any]:
        """The values of one row by column: texts, numbers, file names, `Picture`s. Raises BadRow."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns, as the source has them; `a.b` is field b inside of column a.

    Further short columns become fields for breakdowns and filters.
    """

    question: str
    answer: str
    images: str | Sequence[str] | None  # one picture or a list per cell; several columns are joined in this order
    solution: str | None = None
    id: str | None = None  # None: split and number of the row
    kind: str | None = None
    modality: str | None = None
    marker: str = IMAGE_MARKER  # the placeholder of a picture in the question
    markers_in_front: bool = True  # a question without a marker gets one for each picture, before its text
    options: str | Sequence[str] | None = None  # a column with a list of them, or a column for each
    answer_is: AnswerIs | None = None  # how the answer names its option; None: by letter or text, whichever it is

    def __post_init__(self) -> None:
        if not isinstance(self.marker, str) or not self.marker:
            raise ValueError(
                f"dataset.source.columns.marker is {shown(self.marker)}, not a text. Brackets need quotes inside those of the shell: "
                "\"dataset.source.columns.marker='[IMG]'\"."
            )
        if self.answer_is is not None and (self.answer_is not in ANSWER_IS or not self.option_columns):
            raise ValueError(
                f"{KEY}={self.answer_is!r}: it is one of {', '.join(ANSWER_IS)}, or null, and goes with "
                "dataset.source.columns.options, which names the columns of the options."
            )

    @cached_property
    def image_columns(self) -> tuple[str, ...]:
        """Names of the columns with pictures."""
        return (self.images,) if isinstance(self.images, str) else tuple(self.images or ())

    @cached_property
    def option_columns(self) -> tuple[str, ...]:
        """Names of the columns with options."""
        return (self.options,) if isinstance(self.options, str) else tuple(self.options or ())

    @cached_property
    def named(self) -> dict[str, str]:
        """Column -> key of the config that names it; pictures included."""
        parts = {key: getattr(self, key) for key in ("question", "answer", "solution", "id", "kind", "modality")}
        lists = dict.fromkeys(self.image_columns, "images") | dict.fromkeys(self.option_columns, "options")
        return {column: key for key, column in parts.items() if column} | lists

    def rows(self, table: Table, *, split: str, pictures: PictureFolder, golds: GoldRules) -> LazyRows:
        """The rows of a table, built on access; access to a bad row raises BadRow."""

        def build(index: int) -> Row:
            item, where = table.item(index), table.where(index)
            row_id = self._required(item, self.id, where) if self.id else f"{split}-{index}"
            return self._row(item, where=where, row_id=row_id, pictures=pictures, golds=golds)

        used = {*self.named, *(column.split(".")[0] for column in self.named)}
        return LazyRows(build, indices=range(len(table)), unused_lists=[name for name in table.lists() if name not in used])

    def _row(self, item: Mapping[str, Any], *, where: str, row_id: str, pictures: PictureFolder, golds: GoldRules) -> Row:
        images: Images = tuple(
            pictures.picture(value, where=where) if isinstance(value, str) else value for value in self._pictures(item, where)
        )
        options = self._options(item, f"{where} (id {row_id!r})")
        question = options.with_question(self._text(item, self.question, where))
        question, images = marked(question, images, marker=self.marker, in_front=self.markers_in_front)
        answer = self._required(item, self.answer, where)
        return Row(
            id=row_id,
            question=question,
            answer=self._gold(answer, options, golds, place=f"{where} (id {row_id!r}): {self.answer!r}"),
            solution=self._optional(item, self.solution, where) or None,
            images=images,
            kind=self._optional(item, self.kind, where),
            modality=self._optional(item, self.modality, where),
            fields=fields_of(item, without=self.named),
        )

    def _gold(self, text: str, options: Options, golds: GoldRules, *, place: str) -> str:
        answer = golds.cut(text, place=place)
        if not options.texts:
            return golds.ordered(answer)
        option = options.gold(answer, answer_is=self.answer_is, place=place)
        return option[0] if pattern_of(self.marker).search(option) else option  # its letter, where it is an image

    def _text(self, item: Mapping[str, Any], column: str, where: str) -> str:
        value = cell(item, column)
        if value is None:
            needed = ", ".join(filter(None, (self.question, self.answer, self.id)))
            there = "" if path_of(item, column) or not (found := inside(item, column)) else f"; {found}"
            with_figure = f" and, with a figure, {' or '.join(self.image_columns)}" if self.image_columns else ""
            raise BadRow(f"{where} has no {column!r}{there}. A row needs {needed}{with_figure}.")
        is_category = column in (self.kind, self.modality)
        return text_of(value, place=f"{where}: {column!r}", is_category=is_category)

    def _required(self, item: Mapping[str, Any], column: str, where: str) -> str:
        text = self._text(item, column, where)
        if not text.strip():
            raise BadRow(f"{where}: {column!r} is blank. Fill it in, or drop the row.")
        return text

    def _optional(self, item: Mapping[str, Any], column: str | None, where: str) -> str:
        return "" if column is None or is_missing(cell(item, column)) else self._text(item, column, where)

    def _pictures(self, item: Mapping[str, Any], where: str) -> Iterator[str | Picture]:
        empty = True
        for column in self.image_columns:
            value = cell(item, column)
            members = value if isinstance(value, list) else [value] if value else []
            for picture in chain.from_iterable(map(names_in, members)):
                if not isinstance(picture, str | Picture):
                    raise BadRow(f"{where}: {column!r} holds a {type(picture).__name__}, neither a file name nor a picture.")
                empty = False
                yield picture
        others = (column for column in USUAL_IMAGE_COLUMNS if column not in self.image_columns)
        if empty and self.images is not None and (missed := next(filter(item.get, others), None)):
            raise BadRow(
                f"{where} has {missed!r}, but dataset.source.columns.images names {', '.join(self.image_columns)}. "
                "Name it there, or the question is asked without its figure; null if it is no figure."
            )

    def _options(self, item: Mapping[str, Any], place: str) -> Options:
        if not self.option_columns:
            return Options(texts=())
        names = ", ".join(map(repr, self.option_columns))
        if not any(path_of(item, column) for column in self.option_columns):
            raise BadRow(f"{place} has no {names}. Give a question without options an empty list, or correct {OPTIONS_KEY}.")
        options = options_of([cell(item, column) for column in self.option_columns], place=f"{place}: {names}")
        foreign = next(filter(None, map(NUMBERED_MARKER.search, options.texts)), None)
        if foreign and not pattern_of(self.marker).search(foreign[0]):
            raise BadRow(
                f"{place}: an option shows the image {foreign[0]!r}, and an image is marked by {self.marker!r} "
                "(dataset.source.columns.marker; '<image {n}>' is one with a number). Mark it so, or drop the row."
            )
        return options


AUTHORS = Columns(
    question="question",
    answer="answer",
    images="image",
    solution="solution",
    id="id",
    kind="kind",
    modality="modality",
    markers_in_front=False,  # the authors' questions say where their figures are
)


def fields_of(item: Mapping[str, Any], *, without: Mapping[str, str]) -> dict[str, str]:
    """Further short columns of a row (level, source, ...) as text, for breakdowns of the accuracy."""
    known = {key: value for key, value in item.items() if key not in without and not is_missing(value)}
    short = {key: plain(value) for key, value in known.items() if is_short(value)}
    return {key: value for key, value in short.items() if 0 < len(value) <= LONGEST_FIELD}
