"""The rows of all splits, checked before anything is trained: bad ones named, problems of val and test kept out of training."""

from collections.abc import Sequence

from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import checked, find_problems
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.rewards.judge import Judge


def check_rows(dataset: Dataset, *, judge: Judge, encoder: PromptEncoder, needs_solutions: bool) -> None:
    """Raises BadRows, or leaves bad rows out and says how many; then the splits are made disjoint."""
    for split in SPLITS:
        rows = dataset.split(split)
        problems = find_problems(
            rows[: dataset.checked_rows],
            judge=judge,
            prompt_tokens=encoder.num_tokens,
            max_prompt_tokens=dataset.max_prompt_tokens,
            needs_solutions=needs_solutions and split == "train",
        )
        dataset.keep(split, checked(rows, problems, split=split, on_bad_row=dataset.on_bad_row))
    dataset.keep("train", without_overlap(dataset))


def without_overlap(dataset: Dataset) -> Sequence[Row]:
    """The training rows that are no problem of validation or test; overlap is reported for every data set."""
    keys = {split: [row.content_key for row in dataset.split(split)] for split in SPLITS}
    for split, members in keys.items():
        twice = len(members) - len(set(members))
        if twice:
            print(f"{dataset.name}: {twice} of {len(members)} rows of {split} are repetitions of others.", flush=True)
    held_out = {*keys["val"], *keys["test"]}
    if shared := len(set(keys["val"]) & set(keys["test"])):
        print(f"{dataset.name}: {shared} problems are in both val and test.", flush=True)
    if not held_out & set(keys["train"]):
        return dataset.train
    kept = [row for row, key in zip(dataset.train, keys["train"], strict=True) if key not in held_out]
    print(f"{dataset.name}: {len(dataset.train) - len(kept)} training rows are also in val or test and left out.", flush=True)
    return kept
