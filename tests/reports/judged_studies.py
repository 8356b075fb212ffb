"""Studies held in memory, for tests of verdicts: scores by seed and question, no files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation, Questions
from vlm_rl.reports.reading.runs import Run
from vlm_rl.reports.reading.training import Training
from vlm_rl.reports.tables.table import Table, cells
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import Judged, verdicts_of

SETTING = "pass@1_t0.6"
ENDPOINT = {"_target_": "Endpoint", "split": "test", "setting": SETTING, "picked_by": "val"}
SAMPLES = 20  # of each question: scores are multiples of 0.05

Scores = Sequence[float] | NDArray[np.float64]


def declaring(**changes: Any) -> dict[str, Any]:
    """A config that declared the endpoint, with changes."""
    return {"evaluation": {"scheme": {"endpoint": ENDPOINT | changes}}}


DECLARED = declaring()


def evaluation(
    scores: Scores, *, epoch: int, split: str, images: Sequence[str] | None = None, prefix: str = "q", judge: str = "judge-1"
) -> Evaluation:
    """One evaluation with the given score of each question."""
    correct = np.rint(np.asarray(scores) * SAMPLES).astype(np.int64)
    samples, nothing = np.full(correct.size, SAMPLES), ("",) * correct.size
    rows = tuple(f"{prefix}-{number:04d}" for number in range(correct.size))
    asked = Questions(row_id=rows, image_id=tuple(images or nothing), kind=nothing, modality=nothing, fields=nothing)
    where: dict[str, Any] = {"path": Path("nowhere"), "epoch": epoch, "split": split, "setting": SETTING, "questions": asked}
    right = {"num_samples": samples, "num_correct": correct, "num_well_formed": samples, "num_well_formed_correct": correct}
    verdicts = dict.fromkeys(VERDICTS, 0)
    return Evaluation(**where, **right, verdicts=verdicts, num_truncated=0, num_unboxed=0, judge_versions=(judge,))


def run_records(
    *, seed: int, before: Scores | None, after: Mapping[int, tuple[float, Scores]], label: str = "grpo", **changes: Any
) -> RunRecords:
    """A run: test scores of its vanilla model, and (val accuracy, test scores) of each later epoch."""
    like = {"split": "test"} | {key: changes.pop(key) for key in ("images", "prefix", "judge") if key in changes}
    judge = like.get("judge", "judge-1")
    found = [] if before is None else [evaluation(before, epoch=0, **like)]
    for epoch, (val, scores) in after.items():
        found += [evaluation([val] * 20, epoch=epoch, split="val", judge=judge), evaluation(scores, epoch=epoch, **like)]
    run: dict[str, Any] = {"path": Path(f"{label}-{seed}"), "study": "s", "variant": f"variant-{label}", "seed": seed}
    run |= {"arm": label, "algorithm": label, "finished": True, "judge_version": "judge-1", "commit": "", "vanilla": "vanilla"}
    run |= {"data": {"train": "a", "val": "b", "test": "c"}, "config": DECLARED} | changes
    evaluations = {(one.epoch, one.split, one.setting): one for one in found}
    return RunRecords(run=Run(**run), evaluations=evaluations, training=Training(records=()), cost=(), alerts=())


def arm(label: str, *, before: Sequence[Scores | None], after: Sequence[Scores], **changes: Any) -> Arm:
    """One epoch of training for each seed: rows of `before` and `after` are seeds."""
    pairs = enumerate(zip(before, after, strict=True))
    runs = [run_records(seed=seed, before=old, after={1: (0.5, new)}, label=label, **changes) for seed, (old, new) in pairs]
    return Arm(label=label, runs=tuple(runs))


def records(*arms: Arm) -> Records:
    """A report's records."""
    return Records(arms=arms, problems=())


def changed(one: Arm, change: Callable[[RunRecords], Mapping[str, Any]], *, seeds: Sequence[int] = range(99)) -> Arm:
    """The arm with other fields of some of its runs, of the records or of the manifest."""
    runs = []
    for run in one.runs:
        found = dict(change(run)) if run.run.seed in seeds else {}
        manifest = {key: found.pop(key) for key in list(found) if not hasattr(run, key)}
        runs.append(replace(run, run=replace(run.run, **manifest), **found))
    return replace(one, runs=tuple(runs))


FIVE = (0.2, 0.25, 0.15, 0.2, 0.2)  # gains of five seeds: mean 0.2, variance 0.00125


def gained(label: str, *gains: float, spread: float = 0.1, questions: int = 40, **changes: Any) -> Arm:
    """An arm whose seeds gain these shares over their vanilla models on average; questions respond with `spread`."""
    before = np.tile(np.repeat([0.4, 0.5], questions // 2), (len(gains), 1))
    response = np.random.default_rng(0).choice([-spread, spread], size=questions // 2)
    response = np.concatenate([response, -response])  # sums to 0, so that the mean gain is what was asked for
    return arm(label, before=before, after=before + np.asarray(gains)[:, None] + response, **changes)


def judged(study: Records, *, reference: str | None = None) -> tuple[Judged, ...]:
    """The verdicts where 2 points are the smallest effect that matters."""
    return verdicts_of(study, choice=choose_endpoint(study), reference=reference, smallest_effect=0.02)


def shown(table: Table) -> list[dict[str, str]]:
    """The cells of each row as a person reads them."""
    return [{column.key: cell.text for column, cell in cells(table, row=row)} for row in table.rows]
