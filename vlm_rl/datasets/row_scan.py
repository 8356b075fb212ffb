"""All rows checked before training, alike by `preflight=true` and by every run: golds, overlap of splits, what is left."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rich.console import Console

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.picture_check import DECODE, Cache, Pictures, check_pictures, named
from vlm_rl.datasets.row import ImageSource
from vlm_rl.datasets.row_check import report, rows_at, without
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.split_check import Prompts, Rules, SplitCheck, check_split, chunks
from vlm_rl.rewards.gold_check import check_golds
from vlm_rl.rewards.judge import JUDGE_VERSION, Judge

SHOWN = 3  # golds named in a sentence
CUT = r"""'dataset.source.answer_pattern="(-?\d+)"'"""  # as bash and Hydra want it
CHUNK = 2_000  # golds; each is judged against itself and three near misses


@dataclass(frozen=True, kw_only=True)
class JudgedGolds:
    """Golds that are not as they should be."""

    unfit: frozenset[str]  # cannot be trained on
    notices: tuple[str, ...]  # of golds that hold more than a model would write in a box


def judged_golds(golds: Iterable[str], *, judge: Judge, dataset: str, cache: Cache) -> JudgedGolds:
    """What `check_golds` says of each distinct gold; `dataset` names the file of the cache."""
    place = f"golds of {dataset}, judge {JUDGE_VERSION}"
    known = cache.read(place)
    new = [gold for gold in dict.fromkeys(golds) if gold not in known]
    unfit: set[str] = set()
    not_reached: list[str] = []
    for start in range(0, len(new), CHUNK):
        chunk = new[start : start + CHUNK]
        check = check_golds(judge, chunk)
        unfit |= {chunk[i] for i in check.failing}
        not_reached += [chunk[i] for i in check.not_reached]
    # What failed may have met a busy judge; what is not reached is named again each time.
    cache.add(place, dict.fromkeys((gold for gold in new if gold not in unfit.union(not_reached)), True))
    examples = ", ".join(map(shown, not_reached[:SHOWN]))
    notice = (
        f"{dataset}: {len(not_reached)} answers hold a number among other things, such as {examples}: only an answer "
        f"with all of it is right, the number alone is not. If the number is the answer, cut it out: {CUT}. docs/judge.md."
    )
    return JudgedGolds(unfit=frozenset(unfit), notices=(notice,) if not_reached else ())


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Rows with the same content, and the training rows that are left."""

    sentences: tuple[str, ...]  # none where no row stands twice
    train_kept: tuple[int, ...]  # places among the usable training rows
    train_left_out: int


def overlap(checks: Mapping[str, SplitCheck], *, dataset: str) -> Overlap:
    """Compares the usable rows of train, val and test by their content."""
    keys = {split: check.keys for split, check in checks.items()}
    held_out = {*keys["val"], *keys["test"]}
    kept = tuple(place for place, key in enumerate(keys["train"]) if key not in held_out)
    left_out = len(keys["train"]) - len(kept)
    sentences = [
        f"{dataset}: {twice} of {len(members)} rows of {split} are repetitions of others."
        for split, members in keys.items()
        if (twice := len(members) - len(set(members)))
    ]
    if both := len(set(keys["val"]) & set(keys["test"])):
        sentences.append(f"{dataset}: {both} problems are in both val and test.")
    if left_out:
        sentences.append(f"{dataset}: {left_out} training rows are also in val or test and left out.")
    return Overlap(sentences=tuple(sentences), train_kept=kept, train_left_out=left_out)


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What was found."""

    splits: Mapping[str, SplitCheck]
    pictures: Pictures
    num_golds: int  # distinct
    num_unfit_golds: int
    notices: tuple[str, ...]  # of golds that no usual answer reaches
    overlap: Overlap


@dataclass(frozen=True, kw_only=True)
class RowScan:
    """How thoroughly pictures are checked, and where what was found is remembered."""

    decode: str  # auto, all or headers
    cache: str | None  # a folder; None: nothing is remembered

    def __post_init__(self) -> None:
        if self.decode not in DECODE:
            raise ValueError(f"preflight.decode is {shown(self.decode)}; it is one of {', '.join(DECODE)}.")

    def check(self, dataset: Dataset, *, prompts: Prompts, judge: Judge, needs_solutions: bool) -> DataCheck:
        """Two passes over the rows, in chunks: what pictures and golds there are, and, once those are known, row by row."""
        cache, console = Cache(folder=self.cache), Console(stderr=True)
        with console.status("Reading the rows"):
            images, golds = _distinct(dataset)
        with console.status(f"Checking {len(images)} pictures"):
            pictures = check_pictures(images, decode=self.decode, cache=cache, dataset=dataset.name)
        with console.status(f"Judging {len(golds)} answers against themselves"):
            judged = judged_golds(golds, judge=judge, dataset=dataset.name, cache=cache)
        rules = Rules(
            pictures=pictures,
            unfit_golds=judged.unfit,
            prompts=prompts,
            max_prompt_tokens=dataset.max_prompt_tokens,
            needs_solutions=needs_solutions,
        )
        of_held_out = replace(rules, needs_solutions=False)
        with console.status("Measuring the prompts"):
            splits = {
                split: check_split(
                    dataset.split(split), num_checked=dataset.checked_rows, rules=rules if split == "train" else of_held_out
                )
                for split in SPLITS
            }
        return DataCheck(
            splits=splits,
            pictures=pictures,
            num_golds=len(golds),
            num_unfit_golds=len(judged.unfit),
            notices=judged.notices,
            overlap=overlap(splits, dataset=dataset.name),
        )


def _distinct(dataset: Dataset) -> tuple[dict[str, ImageSource], set[str]]:
    images: dict[str, ImageSource] = {}
    golds: set[str] = set()
    for split in SPLITS:
        for chunk in chunks(dataset.split(split)[: dataset.checked_rows]):
            golds.update(row.answer for row in chunk)
            images |= named(image for row in chunk for image in row.images)
    return images, golds


def check_rows(dataset: Dataset, *, scan: RowScan, judge: Judge, prompts: Prompts, needs_solutions: bool) -> None:
    """Raises ValueError, or leaves bad rows out and says how many; then the splits are made disjoint."""
    found = scan.check(dataset, prompts=prompts, judge=judge, needs_solutions=needs_solutions)
    for split in SPLITS:
        report(found.splits[split].problems, num_rows=found.splits[split].num_rows, split=split, on_bad_row=dataset.on_bad_row)
    for sentence in (*found.overlap.sentences, *found.notices):
        print(sentence, flush=True)
    keep(dataset, found)


def keep(dataset: Dataset, found: DataCheck) -> None:
    """Leaves the data set with its usable rows, and training with those of them that are in no other split."""
    for split in SPLITS:
        dataset.keep(split, without(dataset.split(split), found.splits[split].problems))
    if found.overlap.train_left_out:
        dataset.keep("train", rows_at(dataset.train, found.overlap.train_kept))
