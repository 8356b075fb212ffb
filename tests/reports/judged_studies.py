"""Studies held in memory, for tests of verdicts: scores by seed and question, no files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation, Questions
from vlm_rl.reports.reading.runs import Run
from vlm_rl.reports.verdicts.family import ArmVerdict, verdicts_of

SETTING = "pass@1_t0.6"
ENDPOINT = {"_target_": "Endpoint", "split": "test", "setting": SETTING, "picked_by": "val"}
DECLARED = {"evaluation": {"scheme": {"endpoint": ENDPOINT}}}
SAMPLES = 20  # of each question: scores are multiples of 0.05

Scores = Sequence[float] | NDArray[np.float64]


def evaluation(
    scores: Scores, *, epoch: int, split: str, images: Sequence[str] | None = None, prefix: str = "q", judge: str = "judge-1"
) -> Evaluation:
    """One evaluation with the given score of each question."""
    correct = np.rint(np.asarray(scores) * SAMPLES).astype(np.int64)
    nothing = tuple("" for _ in correct)
    return Evaluation(
        path=Path("nowhere"),
        epoch=epoch,
        split=split,
        setting=SETTING,
        questions=Questions(
            row_id=tuple(f"{prefix}-{number:04d}" for number in range(correct.size)),
            image_id=nothing if images is None else tuple(images),
            kind=nothing,
            modality=nothing,
        ),
        num_samples=np.full(correct.size, SAMPLES),
        num_correct=correct,
        num_well_formed=np.full(correct.size, SAMPLES),
        num_well_formed_correct=correct,
        verdicts=dict.fromkeys(VERDICTS, 0),
        num_truncated=0,
        num_unboxed=0,
        judge_versions=(judge,),
    )


def run_records(
    *,
    seed: int,
    before: Scores | None,
    after: Mapping[int, tuple[float, Scores]],
    label: str = "grpo",
    images: Sequence[str] | None = None,
    prefix: str = "q",
    judge: str = "judge-1",
    untrained: Run | None = None,
    **changes: Any,
) -> RunRecords:
    """A run: test scores of its untrained model, and (val accuracy, test scores) of each later epoch."""
    like = {"images": images, "prefix": prefix, "judge": judge}
    evaluations = [] if before is None else [evaluation(before, epoch=0, split="test", **like)]
    for epoch, (val, scores) in after.items():
        evaluations.append(evaluation([val] * 20, epoch=epoch, split="val", judge=judge))
        evaluations.append(evaluation(scores, epoch=epoch, split="test", **like))
    run: dict[str, Any] = {
        "path": Path(f"{label}-{seed}"),
        "study": "s",
        "variant": f"variant-{label}",
        "seed": seed,
        "arm": label,
        "algorithm": label,
        "finished": True,
        "judge_version": "judge-1",
        "commit": "",
        "data": {"train": "a", "val": "b", "test": "c"},
        "vanilla": "vanilla",
        "config": DECLARED,
    }
    return RunRecords(
        run=Run(**run | changes),
        evaluations={(one.epoch, one.split, one.setting): one for one in evaluations},
        training=(),
        cost=(),
        alerts=(),
        untrained=untrained,
    )


def arm(label: str, *, before: Sequence[Scores], after: Sequence[Scores], **changes: Any) -> Arm:
    """One epoch of training for each seed: rows of `before` and `after` are seeds."""
    runs = [
        run_records(seed=seed, before=old, after={1: (0.5, new)}, label=label, **changes)
        for seed, (old, new) in enumerate(zip(before, after, strict=True))
    ]
    return Arm(label=label, runs=tuple(runs))


def records(*arms: Arm) -> Records:
    """A report's records."""
    return Records(arms=arms, problems=())


def shares(
    *, gains: Sequence[float], questions: int = 40, spread: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores before and after training: each seed gains exactly its share on average, questions respond with `spread`."""
    generator = np.random.default_rng(seed)
    level = np.tile(np.repeat([0.4, 0.5], questions // 2), (len(gains), 1))
    response = generator.choice([-spread, spread], size=questions // 2)
    response = np.concatenate([response, -response])  # sums to 0, so that the mean gain is what was asked for
    return level, level + np.asarray(gains)[:, None] + response


FIVE = (0.2, 0.25, 0.15, 0.2, 0.2)  # gains of five seeds: mean 0.2, variance 0.00125


def gained(label: str, *gains: float, spread: float = 0.1, questions: int = 40, **changes: Any) -> Arm:
    """An arm whose seeds gain these shares over their untrained models."""
    before, after = shares(gains=gains, spread=spread, questions=questions)
    return arm(label, before=before, after=after, **changes)


def judged(study: Records, *, endpoint: Endpoint | None = None, reference: str | None = None) -> tuple[ArmVerdict, ...]:
    """The verdicts where 2 points are the smallest effect that matters."""
    return verdicts_of(study, endpoint=endpoint, reference=reference, smallest_effect=0.02)
