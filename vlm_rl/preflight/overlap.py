"""Problems that stand in more than one split, or twice in one: training never sees one of validation or test."""

from collections.abc import Mapping
from dataclasses import dataclass

from vlm_rl.preflight.rows import SplitCheck


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
