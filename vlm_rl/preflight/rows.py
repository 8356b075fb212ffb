"""The rows of one split, chunk by chunk: what is wrong with each, and how many tokens its prompt and its solution take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.datasets.row_check import RowProblem, long_prompt, problems_of_text, repeated_ids, unfit_gold
from vlm_rl.datasets.shown import shortened
from vlm_rl.models.prompts import PromptLength
from vlm_rl.preflight.pictures import Looked, Seen

CHUNK = 1_000  # rows
Found = TypeVar("Found")


@runtime_checkable
class Lengths(Protocol):
    """What measures prompts: `models.prompts.Prompts`."""

    @property
    def special_tokens(self) -> frozenset[str]:
        """What no text of a row may hold."""

    def lengths(self, rows: Sequence[Row]) -> list[PromptLength]:
        """Tokens of each prompt."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the rows of a split are held to."""

    looked: Looked
    unfit_golds: frozenset[str]
    special_tokens: frozenset[str]
    prompts: Lengths
    max_prompt_tokens: int
    needs_solutions: bool
    solution_tokens: Callable[[list[str]], list[int]] | None  # None: solutions are not measured


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """What is known of one split. Of `ids` on, an entry for each row that could be measured; keys for each row that is left."""

    split: str
    num_rows: int
    problems: tuple[RowProblem, ...]
    keys: tuple[bytes, ...]  # hashes of the content
    ids: tuple[str, ...]
    places: np.ndarray  # in the split
    text_tokens: np.ndarray
    image_tokens: np.ndarray
    solution_tokens: np.ndarray  # of the solutions there are, with the token that ends them; empty where nobody asked

    @property
    def prompt_tokens(self) -> np.ndarray:
        """Text and image tokens of each prompt."""
        both: np.ndarray = self.text_tokens + self.image_tokens
        return both

    @property
    def num_bad(self) -> int:
        """Rows that cannot be used."""
        return self.num_rows - len(self.keys)


def chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """All rows, some at a time: a source reads or draws them only now."""
    for start in range(0, len(rows), CHUNK):
        yield list(rows[start : start + CHUNK])


def check_split(rows: Sequence[Row], *, split: str, rules: Rules, num_checked: int | None) -> SplitCheck:
    """Checks the first `num_checked` rows (None: all); of the others only the content is taken, for the overlap of splits."""
    checked = rows[:num_checked]
    looks = [look for chunk in chunks(checked) for look in _measured(chunk, rules)]
    problems = [problem for look in looks for problem in look.problems] + repeated_ids(look.row_id for look in looks)
    bad = {problem.row_id for problem in problems}
    keys = [look.key for look in looks if look.row_id not in bad]
    keys += [_key(row) for chunk in chunks(rows[len(checked) :]) for row in chunk if row.id not in bad]
    measured = [look for look in looks if look.length is not None]
    places = [place for place, look in enumerate(looks) if look.length is not None]
    return SplitCheck(
        split=split,
        num_rows=len(rows),
        problems=tuple(problems),
        keys=tuple(keys),
        ids=tuple(look.row_id for look in measured),
        places=np.array(places, dtype=np.int64),
        text_tokens=np.array([look.length.text for look in measured if look.length], dtype=np.int64),
        image_tokens=np.array([look.length.image for look in measured if look.length], dtype=np.int64),
        solution_tokens=np.array([look.solution for look in looks if look.solution is not None], dtype=np.int64),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """All that stays of one row."""

    row_id: str
    key: bytes  # empty where its images cannot be read
    problems: tuple[RowProblem, ...]
    length: PromptLength | None
    solution: int | None


def _measured(rows: list[Row], rules: Rules) -> list[_Look]:
    seen = [replace(row, images=tuple(map(rules.looked.at, row.images))) for row in rows]
    # The processor takes a row with a marker for each image, each of which has a size.
    fit = {i: row for i, row in enumerate(seen) if row.question.count(IMAGE_MARKER) == len(row.images)}
    fit = {i: row for i, row in fit.items() if all(image.size != (0, 0) for image in row.images)}
    prompts = _one_by_one_if_need_be(fit, lambda of: list(zip(map(_key, of), rules.prompts.lengths(of), strict=True)))
    solutions: dict[int, int | Exception] = {}
    if (count := rules.solution_tokens) is not None:
        solved = {i: row for i, row in enumerate(rows) if row.solution}
        solutions = _one_by_one_if_need_be(solved, lambda chosen: count([row.solution or "" for row in chosen]))
    looks = []
    for i, row in enumerate(seen):
        found, solution = prompts.get(i), solutions.get(i)
        key, length = found if isinstance(found, tuple) else (b"", None)
        problems = list(_problems(row, length, rules))
        if not problems:  # else it is known already why
            errors = [each for each in (found, solution) if isinstance(each, Exception)]
            told = [f"{type(error).__name__}: {shortened(str(error), most=250)}" for error in errors[:1]]
            message = f"the model's tokenizer or processor refuses it ({''.join(told)}). Mend the row or drop it."
            problems = [RowProblem(row_id=row.id, message=message, reason="refused by tokenizer or processor") for _ in told]
        tokens = solution if isinstance(solution, int) else None
        looks.append(_Look(row_id=row.id, key=key, problems=tuple(problems), length=length, solution=tokens))
    return looks


def _one_by_one_if_need_be(
    rows: Mapping[int, Row], measure: Callable[[list[Row]], list[Found]]
) -> dict[int, Found | Exception]:
    """What is found of all rows together; where one of them cannot be measured, of each alone, and its error."""
    found: dict[int, Found | Exception] = {}
    try:
        found |= zip(rows, measure(list(rows.values())), strict=True)
    except Exception:  # of which row? Tokenizer and processor are the model's own and may raise anything
        for place, row in rows.items():
            try:
                found[place] = measure([row])[0]
            except Exception as error:
                found[place] = error
    return found


def _problems(row: Row, length: PromptLength | None, rules: Rules) -> Iterator[RowProblem]:
    """All that is wrong with a row whose images have been looked at; of its images the first bad one."""
    yield from problems_of_text(row, needs_solution=rules.needs_solutions, special_tokens=rules.special_tokens)
    bad = (image for image in row.images if isinstance(image, Seen) and image.problem)
    yield from (RowProblem(row_id=row.id, message=image.problem, reason=image.reason) for image in islice(bad, 1))
    if length is not None and length.total > rules.max_prompt_tokens:
        yield long_prompt(row, length=length.total, max_prompt_tokens=rules.max_prompt_tokens)
    if row.answer in rules.unfit_golds:
        yield unfit_gold(row)


def _key(row: Row) -> bytes:
    return bytes.fromhex(row.content_key)
