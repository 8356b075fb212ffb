"""The rows of all splits, checked before anything is trained: bad ones named, problems of val and test kept out of training."""

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.row_check import picked, report, without
from vlm_rl.preflight.rows import Lengths
from vlm_rl.preflight.scan import DataCheck, RowScan
from vlm_rl.rewards.judge import Judge


def check_rows(dataset: Dataset, *, scan: RowScan, judge: Judge, prompts: Lengths, needs_solutions: bool) -> None:
    """Raises BadRows, or leaves bad rows out and says how many; then the splits are made disjoint."""
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
