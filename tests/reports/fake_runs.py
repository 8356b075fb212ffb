"""Writes small run folders in the format of design.md, "What a run leaves on disk", without training anything."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SETTINGS = {"pass@8_t1.0": 8, "pass@1_t0.6": 4, "pass@1_t0.01": 1}  # name -> samples of each question
KINDS = ("segments", "angles", "triangles", "rectangles")
ENDPOINT = {"split": "test", "setting": "pass@1_t0.6", "picked_by": "val"}
FOUR = [  # responses of a step: two reflect, one of them right; a waiter is no reflection; two letters of six are Cyrillic
    {"number": 1, "correct": True, "response": "Wait, I verify: 5.", "response_length": 10},
    {"number": 2, "correct": True, "response": "The waiter says 7.", "response_length": 20, "finish_reason": "length"},
    {"number": 3, "correct": False, "response": "не 9, wait", "response_length": 30},
    {"number": 5, "correct": False, "response": "No box.", "response_length": 60},
]
SECONDS = {"time/step1_data_flow": 1.0, "time/step2_response_collection": 1.0}
SECONDS |= {"time/step3_trajectory_generation": 2.0, "time/step4_policy_update": 3.0}
ROLES = {"vanilla": "vanilla", "sft": "teacher", "evaluated": "evaluated"}  # by algorithm; all others are policies
WORDS = ("re-check", "recheck", "check_again", "verify", "wait", "yet")

TWO_ARMS = (("reinforce_pp", "default", "a", 0.09), ("sft", "algorithm-sft", "b", 0.02))

Row = dict[str, Any]
FakeArm = tuple[str, str, str, float]  # algorithm, variant, digit of its hash, what accuracy rises by in an epoch
Outcome = Callable[[int, int], bool]  # (question, sample) -> right?


def sample_row(number: int, *, sample: int, correct: bool, split: str, setting: str, epoch: float, **changes: Any) -> Row:
    """One sample of an evaluation file; every fifth question is not boxed when it is wrong, every seventh is cut off."""
    boxed = correct or number % 5 != 0
    answer = 2 * number + 3
    row = {"row_id": f"{split}-{number:04d}", "image_id": f"image-{number // 2:04d}", "kind": KINDS[number % 4]}
    row |= {"modality": ("text", "vision")[number // 4 % 2], "fields": json.dumps({"level": str(number % 3)})}
    row |= {"split": split, "setting": setting, "epoch": float(epoch), "generation_steps": int(10 * epoch), "sample": sample}
    return {
        **row,
        "question": f"<image>In the figure, AB = {number} and BC = {number + 3}. What is $AC$?",
        "answer": str(answer),
        "response": f"AC = AB + BC. Wait, let me verify: {number} + {number + 3}. \\boxed{{{answer + (not correct)}}}",
        "verdict": "correct" if correct else "wrong" if boxed else "unparsable",
        "accuracy": float(correct),
        "boxed": boxed,
        "finish_reason": "length" if not correct and number % 7 == 0 else "stop",
        "response_length": 20 + number % 9,
        "judge_version": "judge-1",
    } | changes


def write_rows(path: Path, *, rows: Sequence[Row]) -> None:
    """A Parquet file as the evaluator and the completions log write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows))
    narrow = {"accuracy": pa.float32(), "sample": pa.int32(), "response_length": pa.int32()}
    schema = pa.schema([field.with_type(narrow.get(field.name, field.type)) for field in table.schema])
    pq.write_table(table.cast(schema), path, compression="zstd")


def write_evaluation(
    run: Path,
    *,
    outcome: Outcome,
    questions: int,
    samples: int | None = None,
    split: str,
    setting: str,
    epoch: int,
    **changes: Any,
) -> Path:
    """One evaluation in which `outcome(question, sample)` says what is right."""
    path = run / "evaluations" / f"epoch-{epoch:04d}" / f"{split}_{setting}.parquet"
    changes |= {"split": split, "setting": setting, "epoch": epoch}
    places = itertools.product(range(questions), range(SETTINGS[setting] if samples is None else samples))
    rows = [sample_row(question, sample=sample, correct=outcome(question, sample), **changes) for question, sample in places]
    write_rows(path, rows=rows)
    return path


def write_completions(run: Path, *, step: int, rows: Sequence[Row], epoch: float | None = None) -> Path:
    """The completions of a generation step; each row says what differs from `sample_row` (number, sample and correct at least)."""
    path = run / "completions" / f"step-{step:06d}.parquet"
    where = {"split": "train", "setting": "rollout", "epoch": step / 5 if epoch is None else epoch, "generation_steps": step}
    filled = [sample_row(**(where | {"sample": place} | row)) for place, row in enumerate(rows)]
    scores = [{"score": row["accuracy"], "reward_accuracy": row["accuracy"], "reward_language": 0.0} for row in filled]
    write_rows(path, rows=[row | score for score, row in zip(scores, filled, strict=True)])
    return path


def write_manifest(run: Path, *, algorithm: str, seed: int, arm: str, vanilla: str | None, **changes: Any) -> None:
    """The manifest of a run, finished unless `status` says otherwise."""
    run.mkdir(parents=True, exist_ok=True)
    names = {"study": run.parent.parent.name, "variant": run.parent.name, "seed": seed, "arm": arm, "algorithm": algorithm}
    config = {"seed": seed, "evaluation": {"scheme": {"endpoint": ENDPOINT}}}
    origin = {"command": f"python train.py seed={seed}", "git": {"commit": "0123456789abcdef", "diff": None}, "versions": {}}
    rest = {"machine": "two cores", "threads": {}, "data": {"train": "a", "val": "b", "test": "c"}, "wandb_id": None}
    judged = {"status": "finished", "judge_version": "judge-1", "vanilla": vanilla, "role": ROLES.get(algorithm, "policy")}
    manifest = {"format": 1, **names, "config": config, **origin, **rest, **judged}
    (run / "manifest.json").write_text(json.dumps(manifest | changes))


def write_metrics(run: Path, *, steps: int, epochs: int, generator: np.random.Generator, has_responses: bool = True) -> None:
    """metrics.jsonl and cost.jsonl: accuracy and length rise, "wait" falls, "verify" rises; SFT has no responses of its own."""
    metrics, cost = [], []
    for step in range(1, steps + 1):
        done, noise = step / steps, generator.normal(0, 0.02, size=4)
        line: Row = {"event": "train", "generation_steps": step}
        cost.append(line | SECONDS | {"tokens/response": 1000, "memory/peak_bytes": 2**30 + step})
        line |= {"gradient_steps": 4 * step, "epoch": round(epochs * done, 6)}
        if has_responses:
            line |= {"train/accuracy": 0.5 + 0.4 * done + noise[0], "train/accuracy_in_epoch": 0.5 + 0.35 * done + noise[1]}
            line |= {"response_length/mean": 24 + 5 * done + 20 * noise[2]}
            line |= {"reflection/reflection_ratio": 0.1 + 0.2 * done + noise[3]}
            line |= {"reflection/correct_ratio_in_reflection_texts": None if step % 4 == 0 else 0.6 + 0.2 * done + noise[0]}
            line |= {f"reflection/word/{word}": 0 for word in WORDS}
            line |= {"reflection/word/verify": int(5 + 40 * done + 60 * noise[1]), "reflection/word/wait": int(30 - 20 * done)}
        metrics.append(line)
    for name, lines in (("metrics", metrics), ("cost", cost), ("alerts", [])):
        (run / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_study(
    study: Path,
    *,
    arms: Sequence[FakeArm] = TWO_ARMS,
    seeds: Sequence[int] = range(3),
    epochs: int = 4,
    questions: int = 24,
    with_vanilla: bool = True,
    **manifest: Any,
) -> Path:
    """A whole study: by default an RL arm that gains, an SFT arm that gains less, and the vanilla model they share."""
    vanilla = "vanilla-1a2b3c4d" if with_vanilla else None
    for seed in seeds:
        if vanilla:
            run = study / vanilla / f"seed-{seed}"
            write_manifest(run, algorithm="vanilla", seed=seed, arm="0" * 16, vanilla=None, **manifest)
            _evaluate(run, epochs=[0], step=0.0, seed=seed, questions=questions)
        for algorithm, variant, arm, step in arms:
            run = study / variant / f"seed-{seed}"
            write_manifest(run, algorithm=algorithm, seed=seed, arm=arm * 16, vanilla=vanilla, **manifest)
            generator = np.random.default_rng([seed, len(algorithm)])
            write_metrics(run, steps=5 * epochs, epochs=epochs, generator=generator, has_responses=algorithm != "sft")
            _evaluate(run, epochs=range(1, epochs + 1), step=step, seed=seed, questions=questions)
    return study


def _evaluate(run: Path, *, epochs: Sequence[int], step: float, seed: int, questions: int) -> None:
    for epoch, (split, share), (setting, samples) in itertools.product(epochs, (("val", 0.4), ("test", 0.3)), SETTINGS.items()):
        generator = np.random.default_rng([seed, epoch, samples, len(run.parent.name)])
        right = generator.random((questions, samples)) < share + step * epoch
        asked = {"epoch": epoch, "split": split, "setting": setting, "questions": questions}
        write_evaluation(run, outcome=lambda q, s, right=right: bool(right[q, s]), **asked)
