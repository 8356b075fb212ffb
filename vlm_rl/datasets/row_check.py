"""Before training: every row is looked at, and what would break or mislead the run is reported by id, with the fix."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.rewards.gold_check import check_golds
from vlm_rl.rewards.judge import Judge

SHOWN = 10  # problems printed in full


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A row that cannot be used, and why."""

    row_id: str
    message: str


class BadRows(ValueError):
    """Rows that on_bad_row=error does not accept."""


def find_problems(
    rows: Sequence[Row],
    *,
    judge: Judge,
    prompt_tokens: Callable[[Row, list[Image.Image]], int],
    max_prompt_tokens: int,
    needs_solutions: bool,
) -> list[RowProblem]:
    """Images that are missing, broken or cut off, markers that do not match, golds that cannot be judged, prompts too long.

    With `needs_solutions` (SFT) also rows without a worked solution.
    """
    problems = [
        RowProblem(row_id=row.id, message=message)
        for row in rows
        for message in _row_problems(row, prompt_tokens, max_prompt_tokens)
    ]
    golds = check_golds(judge, [row.answer for row in rows])
    for i in golds.failing:
        message = (
            f"its answer {rows[i].answer!r} is not judged equal to itself and different from near misses. "
            "Give a number or a LaTeX expression, without words."
        )
        problems.append(RowProblem(row_id=rows[i].id, message=message))
    if needs_solutions:
        message = "it has no worked solution, which algorithm=sft learns from. Give it a `solution` or drop the row."
        problems += [RowProblem(row_id=row.id, message=message) for row in rows if not row.solution]
    ids = Counter(row.id for row in rows)
    problems += [RowProblem(row_id=i, message=f"its id stands {n} times. Ids must be unique.") for i, n in ids.items() if n > 1]
    return problems


def _row_problems(row: Row, prompt_tokens: Callable[[Row, list[Image.Image]], int], max_prompt_tokens: int) -> Iterator[str]:
    markers = row.question.count(IMAGE_MARKER)
    if markers != len(row.images):
        yield (
            f"it has {markers} {IMAGE_MARKER} markers but {len(row.images)} images. "
            f"Give each image one {IMAGE_MARKER} in `question`, in order."
        )
        return
    pictures = []
    for image in row.images:
        try:
            pictures.append(image.load())
        except FileNotFoundError as error:
            yield f"its image {error.filename} is not there. Restore the file or drop the row."
            return
        except (OSError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
            yield f"its image {getattr(image, 'path', '')} cannot be read ({error}). Save it again or drop the row."
            return
    length = prompt_tokens(row, pictures)
    if length > max_prompt_tokens:
        yield (
            f"its prompt has {length} tokens, image tokens included, more than dataset.max_prompt_tokens={max_prompt_tokens}. "
            "Raise the limit, or lower model.max_pixels."
        )


def checked(rows: Sequence[Row], problems: Sequence[RowProblem], *, split: str, on_bad_row: str) -> Sequence[Row]:
    """The rows that are left; raises BadRows where none may be lost."""
    if not problems:
        return rows
    shown = "\n".join(f"  row {problem.row_id!r}: {problem.message}" for problem in problems[:SHOWN])
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    bad = {problem.row_id for problem in problems}
    if on_bad_row == "error":
        raise BadRows(
            f"{len(bad)} of {len(rows)} rows of split {split!r} cannot be used:\n{shown}{more}\n"
            "Mend them, or leave them out by dataset.on_bad_row=skip."
        )
    print(f"{len(bad)} of {len(rows)} rows of split {split!r} are left out:\n{shown}{more}", flush=True)
    return [row for row in rows if row.id not in bad]
