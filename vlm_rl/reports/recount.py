"""Counts reflection words again in the stored completions, by another rule or word list. The only reader of all their text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from vlm_rl.evaluation.reflection import ReflectionRule, count_reflection
from vlm_rl.reports.json_lines import Record


def recount_reflection(training: Sequence[Record], *, run_folder: Path, rule: ReflectionRule) -> tuple[Record, ...]:
    """The records of generation steps with their reflection quantities replaced; a step without completions loses them."""
    recounted = []
    for record in training:
        others = {key: value for key, value in record.items() if not key.startswith("reflection/")}
        path = run_folder / "completions" / f"step-{record['generation_steps']:06d}.parquet"
        recounted.append(others | (_counted(path, rule=rule) if path.is_file() else {}))
    return tuple(recounted)


def _counted(path: Path, *, rule: ReflectionRule) -> dict[str, float]:
    completions = pq.read_table(path, columns=["response", "accuracy"])
    correct = [accuracy > 0.5 for accuracy in completions["accuracy"].to_pylist()]
    return count_reflection(completions["response"].to_pylist(), correct=correct, rule=rule).metrics()
