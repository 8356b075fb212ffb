"""Messages about rows that cannot be used: by id, with the fix. `preflight` finds them before training."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from vlm_rl.datasets.row import IMAGE_MARKER, LazyRows, Row
from vlm_rl.datasets.shown import shortened, shown

SHOWN = 10  # problems printed in full


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A row that cannot be used, and why."""

    row_id: str
    message: str
    reason: str  # a few words, to count by


def problems_of_text(row: Row, *, needs_solution: bool, special_tokens: frozenset[str] = frozenset()) -> Iterator[RowProblem]:
    """Problems that the row alone shows: markers that do not match its images, no question, no worked solution to imitate, and
    special tokens of the model in a text, which would begin a turn or stand for an image."""
    markers = row.question.count(IMAGE_MARKER)
    if markers != len(row.images):
        message = (
            f"it has {markers} {IMAGE_MARKER} markers but {len(row.images)} images. "
            f"Give each image one {IMAGE_MARKER} in `question`, in order."
        )
        yield RowProblem(row_id=row.id, message=message, reason="markers and images differ")
    if not row.question.strip():  # with an image alone it may be asked in the picture
        message = "its question is empty. Give it words or an image, or drop the row."
        yield RowProblem(row_id=row.id, message=message, reason="no question")
    if needs_solution and not row.solution:
        message = (
            "it has no worked solution, which algorithm=sft learns from, as every algorithm does that imitates solutions. "
            "Give it a `solution` or drop the row."
        )
        yield RowProblem(row_id=row.id, message=message, reason="no worked solution")
    yield from _special(row, part="question", texts=row.question.split(IMAGE_MARKER), tokens=special_tokens)
    if needs_solution and row.solution:
        yield from _special(row, part="solution", texts=[row.solution], tokens=special_tokens)


def _special(row: Row, *, part: str, texts: Sequence[str], tokens: frozenset[str]) -> Iterator[RowProblem]:
    """`texts` are the question without its markers, which the chat template replaces."""
    if tokens and (found := next(filter(None, map(_any_of(tokens).search, texts)), None)):
        message = (
            f"its {part} holds {shown(found[0])}, which this model reads as a special token and not as text. "
            "Write it in another way or drop the row."
        )
        yield RowProblem(row_id=row.id, message=message, reason="special token in a text")


@cache
def _any_of(tokens: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))


def long_prompt(row: Row, *, length: int, max_prompt_tokens: int) -> RowProblem:
    """A prompt of more tokens than the data set allows."""
    message = (
        f"its prompt has {length} tokens, image tokens included, more than dataset.max_prompt_tokens={max_prompt_tokens}. "
        "Raise the limit, or lower dataset.max_pixels."
    )
    return RowProblem(row_id=row.id, message=message, reason="prompt too long")


def unfit_gold(row: Row) -> RowProblem:
    """An answer for which right responses would be judged wrong, or wrong ones right."""
    message = (
        f"its answer {shown(row.answer)} is not judged equal to itself and different from near misses. "
        "Give a number or a LaTeX expression, without words."
    )
    return RowProblem(row_id=row.id, message=message, reason="answer cannot be judged")


def repeated_ids(ids: Iterable[str]) -> list[RowProblem]:
    """One problem for each id that occurs more than once."""
    return [
        RowProblem(row_id=i, message=f"its id stands {n} times. Ids must be unique.", reason="id not unique")
        for i, n in Counter(ids).items()
        if n > 1
    ]


def report(problems: Sequence[RowProblem], *, num_rows: int, split: str, on_bad_row: str) -> None:
    """Print which rows are left out; raise ValueError where on_bad_row is error."""
    count = f"{len({problem.row_id for problem in problems})} of {num_rows} rows of split {split!r}"
    leave_out(_lines(problems), count=count, fault="cannot be used", left_out="are left out", on_bad_row=on_bad_row)


def leave_out(lines: Sequence[str], *, count: str, fault: str, left_out: str, on_bad_row: str) -> None:
    """Print the rows that are left out, a line each; raise ValueError where on_bad_row is error."""
    if lines and on_bad_row == "error":
        raise ValueError(f"{count} {fault}:\n{_first(lines)}\nMend them, or leave them out by dataset.on_bad_row=skip.")
    if lines:
        print(f"{count} {left_out}:\n{_first(lines)}", flush=True)


def listed(problems: Sequence[RowProblem]) -> str:
    """The first problems, a line each, and the number of the others."""
    return _first(_lines(problems))


def _lines(problems: Sequence[RowProblem]) -> list[str]:
    return [f"row {shown(problem.row_id)}: {problem.message}" for problem in problems]


def _first(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(f"  {shortened(line)}" for line in [*lines[:SHOWN], *more])


def without(rows: Sequence[Row], problems: Sequence[RowProblem]) -> Sequence[Row]:
    """The rows without a problem, in their order, still built on access."""
    bad = {problem.row_id for problem in problems}
    return rows_at(rows, [place for place, row in enumerate(rows) if row.id not in bad]) if bad else rows


def rows_at(rows: Sequence[Row], places: Sequence[int]) -> Sequence[Row]:
    """The rows at some places."""
    return LazyRows(rows.__getitem__, indices=places)
