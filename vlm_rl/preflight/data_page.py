"""What `preflight=true` says of the data (rows, problems, pictures, tokens, steps), and how it ends."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.datasets.dataset import SPLITS, Dataset, unused_sentence
from vlm_rl.datasets.picture import shrunk_size
from vlm_rl.datasets.row_check import listed
from vlm_rl.datasets.row_scan import DataCheck
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.split_check import SplitCheck

QUANTILES = {"least": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "most": 1.0}  # shares of the rows
NUM_BINS = 10
WIDEST_BAR = 40  # characters
LARGEST = 5  # rows named


def titled(title: str, *columns: str, words_last: int = 0) -> Table:
    """A table whose first column and last `words_last` columns are words; the others are numbers."""
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
    yield from check.overlap.sentences
    yield f"Answers: {check.num_golds} distinct, {check.num_unfit_golds} that the judge cannot work with."
    yield from check.notices
    yield pictures_sentence(check, max_pixels=dataset.max_pixels)
    yield tokens_table(check, limit=dataset.max_prompt_tokens)
    if (train := check.splits["train"]).ids:
        yield bars(train.prompt_tokens, title="train: tokens of a prompt")
        yield bars(train.image_tokens, title="train: image tokens of a row")
        yield f"Longest prompts of train: {longest_prompts(train)}."
    yield truncation(check, dataset)


def rows_table(check: DataCheck, *, checked_rows: int | None) -> Table:
    """Rows that are kept and those that are not, by reason; with the number of checked rows where not all are."""
    checked = ["checked"] if checked_rows is not None else []
    table = titled("Rows", "split", "rows", *checked, "kept", "bad", "why", words_last=1)
    for split in SPLITS:
        found = check.splits[split]
        left_out = check.overlap.train_left_out if split == "train" else 0
        reasons = Counter(problem.reason for problem in found.problems)
        reasons.update({"also in val or test": left_out} if left_out else {})
        numbers = [found.num_rows, found.num_rows - found.num_bad - left_out, found.num_bad]
        if checked_rows is not None:
            numbers.insert(1, min(found.num_rows, checked_rows))
        why = "\n".join(f"{count} {reason}" for reason, count in reasons.most_common())
        table.add_row(split, *(f"{number:,}" for number in numbers), why)
    return table


def pictures_sentence(check: DataCheck, *, max_pixels: int | None) -> str:
    """How many were checked and how, and which are shrunk."""
    pictures = list(check.pictures.by_name.values())
    decoded = sum(picture.decoded for picture in pictures)
    message = (
        f"Pictures: {len(pictures):,} distinct, {decoded:,} decoded whole ({check.pictures.num_known:,} known from the cache)."
    )
    only_header = sum(not picture.decoded and not picture.problem for picture in pictures)
    if only_header:
        message += f" Of {only_header:,} only the header was read; preflight.decode=all decodes them too."
    over = [picture.size for picture in pictures if shrunk_size(picture.size, max_pixels=max_pixels) != picture.size]
    if over:
        width, height = max(over, key=lambda size: size[0] * size[1])
        message += (
            f" {len(over):,} have more than dataset.max_pixels={max_pixels} and are shrunk; the largest has {width} x {height}."
        )
    return message


def tokens_table(check: DataCheck, *, limit: int) -> Table:
    """Quantiles over the rows of each split: the smallest value that so many rows do not exceed."""
    table = titled(f"Tokens of a row (dataset.max_prompt_tokens={limit})", "", *QUANTILES)
    for split in SPLITS:
        found = check.splits[split]
        kinds = {"prompt": found.prompt_tokens, "of which image": found.image_tokens, "solution": found.solution_tokens}
        for kind, values in kinds.items():
            if values.size:
                quantiles = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
                table.add_row(f"{split}: {kind}", *(f"{int(value):,}" for value in quantiles))
    return table


def longest_prompts(found: SplitCheck) -> str:
    """The rows with the longest prompts by id; of equal ones the earlier row."""
    order = np.argsort(-found.prompt_tokens, kind="stable")[:LARGEST]
    return ", ".join(f"{shown(found.ids[i], most=60)} ({found.prompt_tokens[i]:,})" for i in order)


def bars(values: np.ndarray, *, title: str) -> str:
    """A histogram in text, in bins of equal width over whole numbers; one that is not empty has at least a thin bar."""
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // NUM_BINS)
    counts = np.bincount((values - low) // width).tolist()
    starts = range(low, high + 1, width)
    labels = [f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}" for start in starts]
    longest = max(map(len, labels))
    drawn = ["█" * round(WIDEST_BAR * count / max(counts)) or "▏" * (count > 0) for count in counts]
    rows = zip(labels, drawn, counts, strict=True)
    return "\n".join([title, *(f"  {label:>{longest}}  {bar} {count:,}" for label, bar, count in rows)])


def truncation(check: DataCheck, dataset: Dataset) -> str:
    """What would be cut. A prompt never is: one that is too long is a bad row."""
    long = sum(int((found.prompt_tokens > dataset.max_prompt_tokens).sum()) for found in check.splits.values())
    message = f"Over a limit: {long:,} prompts over dataset.max_prompt_tokens={dataset.max_prompt_tokens}"
    solutions = check.splits["train"].solution_tokens
    if solutions.size:
        cut = int((solutions > dataset.max_new_tokens).sum())
        message += (
            f"; {cut:,} of {len(solutions):,} solutions over dataset.max_new_tokens={dataset.max_new_tokens}, which cuts them"
        )
    return f"{message}."


def steps_page(dataset: Dataset, algorithm: Algorithm) -> Iterator[str]:
    """Generation steps, updates and responses of an epoch and of the run."""
    rows, batch_size, updates = len(dataset.train), algorithm.queries_of_step(dataset.batch_size), algorithm.num_updates
    per_epoch, left_over = divmod(rows, batch_size)
    steps, responses = per_epoch * dataset.epochs, batch_size * algorithm.group_size
    yield (
        f"Steps: {rows:,} training rows in batches of {batch_size:,} = {per_epoch:,} generation steps an epoch "
        f"({left_over:,} rows of each epoch are left over), {per_epoch * updates:,} updates an epoch."
    )
    yield (
        f"In all: {dataset.epochs:,} epochs = {steps:,} generation steps of {responses:,} responses "
        f"({steps * responses:,}) and {updates:,} updates ({steps * updates:,})."
    )
    if batch_size != dataset.batch_size:
        yield (
            f"Dynamic sampling: each step learns from {dataset.batch_size:,} of its {batch_size:,} queries, first from those "
            "whose responses differ (algorithm.dynamic_sampling)."
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Filled in reading order."""

    problems: list[str] = field(default_factory=list)  # whole sentences: training would not start
    reservations: list[str] = field(default_factory=list)  # half sentences: it would start, but
    known: dict[str, list[float]] = field(
        default_factory=dict
    )  # `device_hours` of the run in three cases, the most `tokens` it writes

    @property
    def sentence(self) -> str:
        """The last words of the page."""
        if self.problems:
            return "\n".join(["Training could not start:", *self.problems])
        if self.reservations:
            return f"Training could start, as far as was checked; {'; '.join(self.reservations)}."
        return "Training could start."
