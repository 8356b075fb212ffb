"""All rows of a data set looked at before training: the same way by `preflight=true` and by every run that trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rich.console import Console

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.row import ImageSource
from vlm_rl.datasets.shown import shown
from vlm_rl.preflight.cache import Cache
from vlm_rl.preflight.golds import judged_golds
from vlm_rl.preflight.overlap import Overlap, overlap
from vlm_rl.preflight.pictures import DECODE, Looked, look_at, named
from vlm_rl.preflight.rows import Lengths, Rules, SplitCheck, check_split, chunks
from vlm_rl.rewards.judge import Judge


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What was found."""

    splits: Mapping[str, SplitCheck]
    looked: Looked
    num_golds: int  # distinct
    num_unfit_golds: int
    overlap: Overlap
    notices: tuple[str, ...] = ()  # of golds that no usual answer reaches


@dataclass(frozen=True, kw_only=True)
class RowScan:
    """How thoroughly pictures are looked at, and where what was found is remembered."""

    decode: str  # auto, all or headers
    cache: str | None  # a folder; None: nothing is remembered

    def __post_init__(self) -> None:
        if self.decode not in DECODE:
            raise ValueError(f"preflight.decode is {shown(self.decode)}; it is one of {', '.join(DECODE)}.")

    def check(
        self,
        dataset: Dataset,
        *,
        prompts: Lengths,
        judge: Judge,
        needs_solutions: bool,
        solution_tokens: Callable[[list[str]], list[int]] | None = None,
    ) -> DataCheck:
        """Two passes over the rows, in chunks: what pictures and golds there are, and, once those are known, row by row."""
        cache, console = Cache(folder=self.cache), Console(stderr=True)
        with console.status("Reading the rows"):
            images, golds = _distinct(dataset)
        with console.status(f"Looking at {len(images)} pictures"):
            looked = look_at(images, decode=self.decode, cache=cache)
        with console.status(f"Judging {len(golds)} answers against themselves"):
            judged = judged_golds(golds, judge=judge, dataset=dataset.name, cache=cache)
        rules = Rules(
            looked=looked,
            unfit_golds=judged.unfit,
            special_tokens=prompts.special_tokens,
            prompts=prompts,
            max_prompt_tokens=dataset.max_prompt_tokens,
            needs_solutions=False,
            solution_tokens=None,
        )
        of_train = replace(rules, needs_solutions=needs_solutions, solution_tokens=solution_tokens)
        with console.status("Measuring the prompts"):
            splits = {
                split: check_split(
                    dataset.split(split),
                    split=split,
                    num_checked=dataset.checked_rows,
                    rules=of_train if split == "train" else rules,
                )
                for split in SPLITS
            }
        return DataCheck(
            splits=splits,
            looked=looked,
            num_golds=len(golds),
            num_unfit_golds=len(judged.unfit),
            overlap=overlap(splits),
            notices=tuple(judged.sentences(dataset.name)),
        )


def _distinct(dataset: Dataset) -> tuple[dict[str, ImageSource], set[str]]:
    images: dict[str, ImageSource] = {}
    golds: set[str] = set()
    for split in SPLITS:
        for chunk in chunks(dataset.split(split)[: dataset.checked_rows]):
            golds.update(row.answer for row in chunk)
            images |= named(image for row in chunk for image in row.images)
    return images, golds
