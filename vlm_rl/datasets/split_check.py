"""The rows of one split, chunk by chunk: what is wrong with each, and how many tokens its prompt and its solution take."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from vlm_rl.datasets.picture_check import CheckedPicture, Pictures
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.datasets.row_check import RowProblem, long_prompt, problems_of_text, repeated_ids, unfit_gold
from vlm_rl.datasets.shown import shortened

CHUNK = 1_000  # rows
REFUSED = "refused by tokenizer or processor"
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class PromptLength:
    """Tokens of one prompt."""

    text: int
    image: int  # what the images of the prompt are expanded to

    @property
    def total(self) -> int:
        """What dataset.max_prompt_tokens bounds."""
        return self.text + self.image


@runtime_checkable
class Prompts(Protocol):
    """What measures prompts and solutions in tokens: `models.prompts.Prompts`."""

    @property
    def special_tokens(self) -> frozenset[str]:
        """Tokens that no text of a row may hold."""

    def lengths(self, rows: Sequence[Row]) -> list[PromptLength]:
        """Length of each prompt."""

    def solution_lengths(self, rows: Sequence[Row]) -> list[int]:
        """Tokens of each worked solution."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the rows of a split are held to."""

    pictures: Pictures
    unfit_golds: frozenset[str]
    prompts: Prompts
    max_prompt_tokens: int
    needs_solutions: bool  # then solutions are measured too


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """What is known of one split. Of `ids` on, an entry for each row that could be measured; keys for each row that is left."""

    num_rows: int
    problems: tuple[RowProblem, ...]
    keys: tuple[bytes, ...]  # hashes of the content
    ids: tuple[str, ...]
    places: np.ndarray  # in the split
    text_tokens: np.ndarray
    image_tokens: np.ndarray
    solution_tokens: np.ndarray  # of the solutions there are, with the token that ends them; empty where none is needed

    @property
    def prompt_tokens(self) -> np.ndarray:
        """Text and image tokens of each prompt."""
        both: np.ndarray = self.text_tokens + self.image_tokens
        return both

    @property
    def num_bad(self) -> int:
        """Rows that cannot be used."""
        return self.num_rows - len(self.keys)

    @property
    def usable(self) -> np.ndarray:
        """Of each entry of `ids`, whether its row has no problem."""
        bad = {problem.row_id for problem in self.problems}
        return np.array([row_id not in bad for row_id in self.ids], dtype=bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class _RowCheck:
    """All that stays of one row."""

    row_id: str
    key: bytes  # empty where its images cannot be read
    problems: tuple[RowProblem, ...]
    length: PromptLength | None
    solution: int | None


def chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """All rows, some at a time: a source reads or draws them only now."""
    for start in range(0, len(rows), CHUNK):
        yield list(rows[start : start + CHUNK])


def check_split(rows: Sequence[Row], *, rules: Rules, num_checked: int | None) -> SplitCheck:
    """Checks the first `num_checked` rows (None: all); of the others only the content is taken, for the overlap of splits."""
    checked = rows[:num_checked]
    checks = [check for chunk in chunks(checked) for check in _check_rows(chunk, rules)]
    _check_model(checks)
    problems = [problem for check in checks for problem in check.problems] + repeated_ids(check.row_id for check in checks)
    bad = {problem.row_id for problem in problems}
    keys = [check.key for check in checks if check.row_id not in bad]
    keys += [_key(row) for chunk in chunks(rows[len(checked) :]) for row in chunk if row.id not in bad]
    measured = [(place, check.row_id, check.length) for place, check in enumerate(checks) if check.length is not None]
    return SplitCheck(
        num_rows=len(rows),
        problems=tuple(problems),
        keys=tuple(keys),
        ids=tuple(row_id for _, row_id, _ in measured),
        places=np.array([place for place, _, _ in measured], dtype=np.int64),
        text_tokens=np.array([length.text for _, _, length in measured], dtype=np.int64),
        image_tokens=np.array([length.image for _, _, length in measured], dtype=np.int64),
        solution_tokens=np.array([check.solution for check in checks if check.solution is not None], dtype=np.int64),
    )


def _check_rows(rows: list[Row], rules: Rules) -> Iterator[_RowCheck]:
    seen = [replace(row, images=tuple(map(rules.pictures.at, row.images))) for row in rows]
    # The processor takes a row with a marker for each image, each of which has a size.
    fit = {i: row for i, row in enumerate(seen) if row.question.count(IMAGE_MARKER) == len(row.images)}
    fit = {i: row for i, row in fit.items() if all(image.size != (0, 0) for image in row.images)}
    prompts = _each_or_its_error(fit, lambda of: list(zip(map(_key, of), rules.prompts.lengths(of), strict=True)))
    solved = {i: row for i, row in enumerate(rows) if rules.needs_solutions and row.solution}
    solutions = _each_or_its_error(solved, rules.prompts.solution_lengths)
    for i, row in enumerate(seen):
        prompt, solution = prompts.get(i), solutions.get(i)
        key, length = prompt if isinstance(prompt, tuple) else (b"", None)
        refusals = (_refused(row, error) for error in (prompt, solution) if isinstance(error, Exception))
        problems = list(_problems(row, length, rules)) or list(islice(refusals, 1))
        tokens = solution if isinstance(solution, int) else None
        yield _RowCheck(row_id=row.id, key=key, problems=tuple(problems), length=length, solution=tokens)


def _each_or_its_error(rows: Mapping[int, Row], measure: Callable[[list[Row]], list[Found]]) -> dict[int, Found | Exception]:
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


def _refused(row: Row, error: Exception) -> RowProblem:
    reason = f"{type(error).__name__}: {shortened(str(error), most=250)}"
    message = f"the model's tokenizer or processor refuses it ({reason}). Mend the row or drop it."
    return RowProblem(row_id=row.id, message=message, reason=REFUSED)


def _check_model(checks: Sequence[_RowCheck]) -> None:
    """Raise ValueError where the processor refuses every row that could be read, in the same words but for numbers."""
    refused = [problem for check in checks for problem in check.problems if problem.reason == REFUSED]
    measured = any(check.length is not None and check.length.image for check in checks)  # without images another path is taken
    words = {re.sub(r"\d+", "0", problem.message) for problem in refused}
    if len(refused) > 1 and len(words) == 1 and not measured:
        reason = refused[0].message.partition(" (")[2].partition("). ")[0]
        raise ValueError(
            f"The model's tokenizer or processor refuses all {len(refused)} rows that it was given, each in the same way ({reason}), so "
            "the rows are not the cause. Change its settings (model.processor), or take another model (model.name)."
        )


def _problems(row: Row, length: PromptLength | None, rules: Rules) -> Iterator[RowProblem]:
    """All that is wrong with a row whose images have been checked; of its images the first bad one."""
    yield from problems_of_text(row, needs_solution=rules.needs_solutions, special_tokens=rules.prompts.special_tokens)
    bad = (image for image in row.images if isinstance(image, CheckedPicture) and image.problem)
    yield from (RowProblem(row_id=row.id, message=image.problem, reason=image.reason) for image in islice(bad, 1))
    if length is not None and length.total > rules.max_prompt_tokens:
        yield long_prompt(row, length=length.total, max_prompt_tokens=rules.max_prompt_tokens)
    if row.answer in rules.unfit_golds:
        yield unfit_gold(row)


def _key(row: Row) -> bytes:
    return bytes.fromhex(row.content_key)
