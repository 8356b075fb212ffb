"""All rows looked at before training, alike by `preflight=true` and by every run: golds, overlap of splits, what is left."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rich.console import Console

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.row import ImageSource
from vlm_rl.datasets.row_check import picked, report, without
from vlm_rl.datasets.shown import shown
from vlm_rl.preflight.pictures import DECODE, Cache, Looked, look_at, named
from vlm_rl.preflight.rows import Lengths, Rules, SplitCheck, check_split, chunks
from vlm_rl.rewards.gold_check import check_golds
from vlm_rl.rewards.judge import JUDGE_VERSION, Judge

SHOWN = 3  # golds named in a sentence
CUT = r"""'dataset.source.answer_pattern="(-?\d+)"'"""  # as bash and Hydra want it
CHUNK = 2_000  # golds; each is judged against itself and three near misses


@dataclass(frozen=True, kw_only=True)
class JudgedGolds:
    """Golds that are not as they should be."""

    unfit: frozenset[str]  # cannot be trained on
    not_reached: tuple[str, ...]  # hold more than a model would write in a box

    def sentences(self, dataset: str) -> Iterator[str]:
        """What is said of golds that no usual answer reaches."""
        if self.not_reached:
            examples = ", ".join(map(shown, self.not_reached[:SHOWN]))
            yield (
                f"{dataset}: {len(self.not_reached)} answers hold a number among other things, such as {examples}: only an answer "
                f"with all of it is right, the number alone is not. If the number is the answer, cut it out: {CUT}. docs/judge.md."
            )


def judged_golds(golds: Iterable[str], *, judge: Judge, dataset: str, cache: Cache) -> JudgedGolds:
    """What `check_golds` says of each distinct gold; `dataset` names the file of the cache."""
    place = f"golds of {dataset}, judge {JUDGE_VERSION}"
    distinct = {_digest(gold): gold for gold in golds}
    known = cache.read(place)
    fit = {digest: True for digest in distinct if known.get(digest)}
    new = [(digest, gold) for digest, gold in distinct.items() if digest not in fit]
    not_reached: list[str] = []
    for start in range(0, len(new), CHUNK):
        chunk = new[start : start + CHUNK]
        check = check_golds(judge, [gold for _, gold in chunk])
        failing = set(check.failing)
        fit |= {digest: i not in failing for i, (digest, _) in enumerate(chunk)}
        not_reached += [chunk[i][1] for i in check.not_reached]
    said = {_digest(gold) for gold in not_reached}  # again each time
    # What failed may have met a busy judge.
    cache.add(place, {digest: True for digest, _ in new if fit[digest] and digest not in said})
    unfit = frozenset(gold for digest, gold in distinct.items() if not fit[digest])
    return JudgedGolds(unfit=unfit, not_reached=tuple(not_reached))


def _digest(gold: str) -> str:
    return hashlib.sha256(gold.encode(errors="surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Counts of rows with the same content, and the training rows that are left."""

    repeated: Mapping[str, tuple[int, int]]  # split -> (repetitions of others, rows)
    val_and_test: int
    train_kept: tuple[int, ...]  # places among the usable training rows
    train_left_out: int

    def sentences(self, name: str) -> list[str]:
        """What is worth a line; nothing where no row stands twice."""
        lines = [
            f"{name}: {twice} of {total} rows of {split} are repetitions of others."
            for split, (twice, total) in self.repeated.items()
            if twice
        ]
        if self.val_and_test:
            lines.append(f"{name}: {self.val_and_test} problems are in both val and test.")
        if self.train_left_out:
            lines.append(f"{name}: {self.train_left_out} training rows are also in val or test and left out.")
        return lines


def overlap(checks: Mapping[str, SplitCheck]) -> Overlap:
    """Compares the usable rows of train, val and test by their content."""
    keys = {split: check.keys for split, check in checks.items()}
    held_out = {*keys["val"], *keys["test"]}
    kept = tuple(place for place, key in enumerate(keys["train"]) if key not in held_out)
    return Overlap(
        repeated={split: (len(members) - len(set(members)), len(members)) for split, members in keys.items()},
        val_and_test=len(set(keys["val"]) & set(keys["test"])),
        train_kept=kept,
        train_left_out=len(keys["train"]) - len(kept),
    )


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
        rules_of = dict.fromkeys(SPLITS, rules) | {"train": of_train}
        with console.status("Measuring the prompts"):
            splits = {
                split: check_split(dataset.split(split), split=split, num_checked=dataset.checked_rows, rules=rules_of[split])
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


def check_rows(dataset: Dataset, *, scan: RowScan, judge: Judge, prompts: Lengths, needs_solutions: bool) -> None:
    """Raises ValueError, or leaves bad rows out and says how many; then the splits are made disjoint."""
    found = scan.check(dataset, prompts=prompts, judge=judge, needs_solutions=needs_solutions)
    for split in SPLITS:
        report(found.splits[split].problems, num_rows=found.splits[split].num_rows, split=split, on_bad_row=dataset.on_bad_row)
    for sentence in (*found.overlap.sentences(dataset.name), *found.notices):
        print(sentence, flush=True)
    keep(dataset, found)


def keep(dataset: Dataset, found: DataCheck) -> None:
    """Leaves the data set with its usable rows, and training with those of them that are in no other split."""
    for split in SPLITS:
        dataset.keep(split, without(dataset.split(split), found.splits[split].problems))
    if found.overlap.train_left_out:
        dataset.keep("train", picked(dataset.train, found.overlap.train_kept))
