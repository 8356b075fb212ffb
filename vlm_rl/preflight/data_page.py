"""What `preflight=true` says of the data (rows, problems, pictures, tokens), and how it ends. Nothing is computed twice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from vlm_rl.datasets.dataset import SPLITS, Dataset, unused_sentence
from vlm_rl.datasets.picture import shrunk_size
from vlm_rl.datasets.row_check import listed
from vlm_rl.datasets.shown import shown
from vlm_rl.preflight.rows import SplitCheck
from vlm_rl.preflight.scan import DataCheck

SHARES = (0.0, 0.5, 0.9, 0.99, 1.0)  # of the rows
NUM_BINS = 10
WIDEST_BAR = 40  # characters
LARGEST = 5  # rows and pictures named


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Values from `low` to `high`, both included."""

    low: int
    high: int
    count: int


def quantiles(values: np.ndarray, *, shares: Sequence[float] = SHARES) -> list[int]:
    """For each share the smallest value that at least this share of the values does not exceed; so each is one of them."""
    return [int(value) for value in np.quantile(values, shares, method="inverted_cdf")]


def histogram(values: np.ndarray, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins of equal width over whole numbers, from the smallest value on; the last one may reach past the largest."""
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // num_bins)
    edges = range(low, high + 1, width)
    counts = np.bincount((values - low) // width, minlength=len(edges))
    return [Bin(low=edge, high=edge + width - 1, count=int(count)) for edge, count in zip(edges, counts, strict=True)]


def largest(values: np.ndarray, ids: Sequence[str], *, count: int) -> list[tuple[str, int]]:
    """The rows with the largest values, largest first; of equal ones the earlier row."""
    order = np.argsort(-values, kind="stable")[:count]
    return [(ids[i], int(values[i])) for i in order]


def titled(title: str, *columns: str, words_last: bool = False) -> Table:
    """A table whose first column is words, and perhaps the last; the others are numbers."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if 0 < place < len(columns) - words_last else "left", overflow="fold")
    return table


def data_page(dataset: Dataset, check: DataCheck) -> Iterator[RenderableType]:
    """All of it, in reading order."""
    yield rows_table(check, checked_rows=dataset.checked_rows)
    for split in SPLITS:
        if problems := check.splits[split].problems:
            yield f"Problems of {split}:\n{listed(problems)}"
    if dataset.unused_lists:
        yield f"Columns: {unused_sentence(dataset.unused_lists)}"
    yield from check.overlap.sentences(dataset.name)
    yield f"Answers: {check.num_golds} distinct, {check.num_unfit_golds} that the judge cannot work with."
    yield from check.notices
    yield pictures_sentence(check, max_pixels=dataset.max_pixels)
    yield tokens_table(check, limit=dataset.max_prompt_tokens)
    yield from histograms(check.splits["train"])
    yield truncation(check, dataset)


def rows_table(check: DataCheck, *, checked_rows: int | None) -> Table:
    """Rows that are kept and those that are not, by reason; where not all were looked at, how many were."""
    checked = ["checked"] if checked_rows is not None else []
    table = titled("Rows", "split", "rows", *checked, "kept", "bad", "why", words_last=True)
    for split in SPLITS:
        found = check.splits[split]
        left_out = check.overlap.train_left_out if split == "train" else 0
        reasons = Counter(problem.reason for problem in found.problems)
        why = [f"{count} {reason}" for reason, count in reasons.most_common()]
        why += [f"{left_out} also in val or test"] if left_out else []
        kept = found.num_rows - found.num_bad - left_out
        looked_at = [f"{min(found.num_rows, checked_rows):,}"] if checked_rows is not None else []
        table.add_row(split, f"{found.num_rows:,}", *looked_at, f"{kept:,}", f"{found.num_bad:,}", "\n".join(why))
    return table


def pictures_sentence(check: DataCheck, *, max_pixels: int | None) -> str:
    """How many were looked at and how, and which are shrunk."""
    pictures = check.looked.by_name
    decoded = sum(picture.decoded for picture in pictures.values())
    told = f"Pictures: {len(pictures):,} distinct, {decoded:,} decoded whole ({check.looked.num_known:,} known from the cache)."
    only_header = sum(not picture.decoded and not picture.problem for picture in pictures.values())
    if only_header:
        told += f" Of {only_header:,} only the header was read; preflight.decode=all decodes them too."
    over = {
        name: picture for name, picture in pictures.items() if shrunk_size(picture.size, max_pixels=max_pixels) != picture.size
    }
    if over:
        width, height = max((picture.size for picture in over.values()), key=lambda size: size[0] * size[1])
        told += (
            f" {len(over):,} have more than dataset.max_pixels={max_pixels} and are shrunk; the largest has {width} x {height}."
        )
    return told


def tokens_table(check: DataCheck, *, limit: int) -> Table:
    """Quantiles over the rows of each split."""
    names = [{0.0: "least", 0.5: "median", 1.0: "most"}.get(share, f"{100 * share:g} %") for share in SHARES]
    table = titled(f"Tokens of a row (dataset.max_prompt_tokens={limit})", "", *names)
    for split in SPLITS:
        found = check.splits[split]
        if not found.ids:
            continue
        for name, values in (("prompt", found.prompt_tokens), ("of which image", found.image_tokens)):
            table.add_row(f"{split}: {name}", *(f"{value:,}" for value in quantiles(values)))
        if found.solution_tokens.size:
            table.add_row(f"{split}: solution", *(f"{value:,}" for value in quantiles(found.solution_tokens)))
    return table


def histograms(found: SplitCheck) -> Iterator[RenderableType]:
    """Of the training rows, and the largest of them by id."""
    if not found.ids:
        return
    for name, values in (("tokens of a prompt", found.prompt_tokens), ("image tokens of a row", found.image_tokens)):
        yield bars(values, title=f"{found.split}: {name}")
    rows = ", ".join(
        f"{shown(row_id, most=60)} ({tokens:,})" for row_id, tokens in largest(found.prompt_tokens, found.ids, count=LARGEST)
    )
    yield f"Longest prompts of {found.split}: {rows}."


def bars(values: np.ndarray, *, title: str) -> str:
    """A histogram in text; a bin that is not empty has at least a thin bar."""
    bins = histogram(values)
    most = max(member.count for member in bins)
    labels = [f"{member.low:,}" if member.low == member.high else f"{member.low:,} to {member.high:,}" for member in bins]
    width = max(map(len, labels))
    drawn = ["█" * round(WIDEST_BAR * member.count / most) or "▏" * (member.count > 0) for member in bins]
    lines = [f"  {label:>{width}}  {bar} {b.count:,}" for label, bar, b in zip(labels, drawn, bins, strict=True)]
    return "\n".join([title, *lines])


def truncation(check: DataCheck, dataset: Dataset) -> str:
    """What would be cut. A prompt never is: one that is too long is a bad row."""
    long = sum(int((found.prompt_tokens > dataset.max_prompt_tokens).sum()) for found in check.splits.values())
    told = f"Over a limit: {long:,} prompts over dataset.max_prompt_tokens={dataset.max_prompt_tokens}"
    solutions = check.splits["train"].solution_tokens
    if len(solutions):
        cut = int((solutions > dataset.max_new_tokens).sum())
        told += (
            f"; {cut:,} of {len(solutions):,} solutions over dataset.max_new_tokens={dataset.max_new_tokens}, which cuts them"
        )
    return f"{told}."


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Filled in reading order."""

    problems: list[str] = field(default_factory=list)  # whole sentences: training would not start
    reservations: list[str] = field(default_factory=list)  # half sentences: it would start, but

    @property
    def sentence(self) -> str:
        """The last words of the page."""
        if self.problems:
            return "\n".join(["Training could not start:", *self.problems])
        if self.reservations:
            return f"Training could start, as far as was checked; {'; '.join(self.reservations)}."
        return "Training could start."
