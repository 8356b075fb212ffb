"""A generated study in the format that runs leave on disk, of any size: what the report's time and memory are measured on.

Texts are random sentences of random words, different in every response, so that Parquet compresses them as it does real ones.
"""

import functools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlm_rl.evaluation.records import SCHEMA

ARMS = ("reinforce_pp", "grpo", "dapo", "rloo")
SETTING = "pass@1_t0.6"
SPLITS = ("val", "test")
SAMPLES_OF_A_QUERY = 8
NUM_SENTENCES, SENTENCES_OF_A_RESPONSE = 4000, 5
REFLECTIVE = 0.1  # share of sentences with a reflection word, so that about four responses in ten have one
NOT_ASCII = 0.02  # share of sentences with a sign such as ∠, and a tenth of it with letters of another script
SCORES = [("score", pa.float32()), ("reward_accuracy", pa.float32()), ("reward_language", pa.float32())]
TRAINING_SCHEMA = pa.schema([*SCHEMA, *SCORES])


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a study is; the defaults are the size that the report is held to."""

    runs: int = 20
    steps: int = 150
    responses: int = 900  # of a step
    evaluations: int = 30  # files of a run, half of them on val and half on test
    questions: int = 1000
    samples: int = 10

    def scaled(self, factor: float) -> "Size":
        """A study of `factor` as many responses: fewer runs and fewer steps and evaluations of each, in equal parts."""
        runs = max(1, round(self.runs * factor**0.5))
        share = factor * self.runs / runs
        evaluations = 2 * max(1, round(self.evaluations * share / 2))
        return Size(
            runs=runs,
            steps=max(1, round(self.steps * share)),
            responses=self.responses,
            evaluations=evaluations,
            questions=self.questions,
            samples=self.samples,
        )

    @property
    def num_texts(self) -> int:
        """Responses in all, without those of the vanilla models."""
        return self.runs * (self.steps * self.responses + self.evaluations * self.questions * self.samples)


def write_fixture(study: Path, *, size: Size, seed: int = 0) -> Path:
    """Write the study: arms of up to five seeds, and the vanilla model of each seed."""
    seeds = -(-size.runs // len(ARMS))
    trained = [(arm, number) for number, arm in product(range(seeds), ARMS)][: size.runs]
    texts = Texts(generator=np.random.default_rng([seed, 0]))
    with ThreadPoolExecutor(2) as writers:
        jobs = [writers.submit(_write_run, study, arm, number, size=size, texts=texts) for arm, number in trained]
        jobs += [writers.submit(_write_vanilla, study, number, size=size, texts=texts) for number in range(seeds)]
        for job in jobs:
            job.result()
    return study


class Texts:
    """Draws responses from a pool of sentences."""

    def __init__(self, *, generator: np.random.Generator) -> None:
        letters = np.array(list("etaoinshrdlucmfwgpb"))
        lengths = generator.integers(2, 9, size=1500)
        words = ["".join(generator.choice(letters, size=length)) for length in lengths]
        self._sentences = pa.array([self._sentence(words, generator=generator) for _ in range(NUM_SENTENCES)])

    def _sentence(self, words: list[str], *, generator: np.random.Generator) -> str:
        chosen = [words[place] for place in generator.integers(len(words), size=generator.integers(6, 13))]
        if generator.random() < REFLECTIVE:
            chosen.insert(0, str(generator.choice(["Wait,", "Let me verify:", "yet", "re-check", "Check again,"])))
        if generator.random() < NOT_ASCII:
            chosen.append("因此角相等" if generator.random() < 0.1 else "∠ABC = 90°")
        return " ".join(chosen)

    def draw(self, answers: pa.Array, *, generator: np.random.Generator) -> pa.Array:
        """One response for each boxed answer."""
        places = generator.integers(NUM_SENTENCES, size=(SENTENCES_OF_A_RESPONSE, len(answers)))
        parts = [self._sentences.take(pa.array(row)) for row in places]
        boxed = pc.binary_join_element_wise("So it is \\boxed{", answers, "}.", "")
        return pc.binary_join_element_wise(*parts, boxed, ". ")


def _write_run(study: Path, arm: str, seed: int, *, size: Size, texts: Texts) -> None:
    run = study / f"algorithm-{arm}" / f"seed-{seed}"
    generator = np.random.default_rng([1, ARMS.index(arm), seed])
    epochs = size.evaluations // 2
    _write_manifest(run, algorithm=arm, seed=seed, vanilla="vanilla-fixture")
    lines, costs = [], []
    for step in range(1, size.steps + 1):
        share = 0.3 + 0.3 * step / size.steps
        axes = {"generation_steps": step, "gradient_steps": 4 * step, "epoch": epochs * step / size.steps}
        table = _rows(
            size.responses,
            SAMPLES_OF_A_QUERY,
            share,
            split="train",
            setting="rollout",
            axes=axes,
            texts=texts,
            generator=generator,
        )
        _write(run / "completions" / f"step-{step:06d}.parquet", table=table)
        lines.append({"event": "train", **axes} | _logged(share, generator=generator))
        costs.append(_cost(step))
    _write_lines(run / "metrics.jsonl", lines=lines)
    _write_lines(run / "cost.jsonl", lines=costs)
    for epoch, split in product(range(1, epochs + 1), SPLITS):
        _write_evaluation(
            run, epoch=epoch, split=split, share=0.3 + 0.3 * epoch / epochs, size=size, texts=texts, generator=generator
        )


def _write_vanilla(study: Path, seed: int, *, size: Size, texts: Texts) -> None:
    run = study / "vanilla-fixture" / f"seed-{seed}"
    _write_manifest(run, algorithm="vanilla", seed=seed, vanilla=None)
    generator = np.random.default_rng([2, seed])
    for split in SPLITS:
        _write_evaluation(run, epoch=0, split=split, share=0.3, size=size, texts=texts, generator=generator)


def _write_evaluation(run: Path, *, epoch: int, split: str, share: float, size: Size, **random: Any) -> None:
    axes = {"generation_steps": 10 * epoch, "epoch": float(epoch)}
    table = _rows(size.questions * size.samples, size.samples, share, split=split, setting=SETTING, axes=axes, **random)
    _write(run / "evaluations" / f"epoch-{epoch:04d}" / f"{split}_{SETTING}.parquet", table=table.select(SCHEMA.names))


def _rows(
    count: int,
    samples: int,
    share: float,
    *,
    split: str,
    setting: str,
    axes: dict[str, Any],
    texts: Texts,
    generator: np.random.Generator,
) -> pa.Table:
    right = generator.random(count) < share
    asked = _asked(count, samples, split=split)
    answer = 7 * (np.arange(count) // samples) % 97
    given = pc.cast(pa.array(answer + ~right), pa.string())
    columns = asked | {
        "setting": pa.repeat(setting, count),
        "epoch": pa.repeat(axes["epoch"], count),
        "generation_steps": pa.repeat(axes["generation_steps"], count),
        "response": texts.draw(given, generator=generator),
        "verdict": pc.if_else(pa.array(right), "correct", "wrong"),
        "accuracy": right,
        "finish_reason": pc.if_else(pa.array(generator.random(count) < 0.95), "stop", "length"),
        "response_length": generator.integers(40, 160, size=count),
        "score": right,
        "reward_accuracy": right,
    }
    return pa.table({name: pa.array(columns[name]) for name in TRAINING_SCHEMA.names}).cast(TRAINING_SCHEMA)


@functools.cache
def _asked(count: int, samples: int, *, split: str) -> dict[str, Any]:
    """The columns that are the same in every file of a split."""
    question = np.arange(count) // samples
    asked = "In figure {} the sides AB, BC and CD of a quadrilateral are given. What is the length of $AC$?"
    columns = {
        "row_id": [f"{split}-{number:05d}" for number in question],
        "image_id": [f"{split}-image-{number // 2:05d}" for number in question],
        "kind": [("segments", "angles", "triangles", "rectangles")[number % 4] for number in question],
        "modality": [("text", "vision")[number % 2] for number in question],
        "fields": [json.dumps({"level": str(number % 5)}) for number in question],
        "split": [split] * count,
        "sample": np.arange(count) % samples,
        "question": [asked.format(number) for number in question],
        "answer": (7 * question % 97).astype(str),
        "boxed": np.ones(count, dtype=bool),
        "judge_version": ["fixture"] * count,
        "reward_language": np.zeros(count, dtype=np.float32),
    }
    return {name: pa.array(values) for name, values in columns.items()}


def _logged(share: float, *, generator: np.random.Generator) -> dict[str, float]:
    noise = generator.normal(0, 0.01, size=3)
    return {
        "policy/kl": 0.01 + abs(noise[0]),
        "policy/entropy": 0.5 + noise[1],
        "policy/clip_fraction": abs(noise[2]),
        "train/accuracy": share,
        "train/accuracy_in_epoch": share,
    }


def _cost(step: int) -> dict[str, Any]:
    seconds = {
        "step1_data_flow": 0.1,
        "step2_response_collection": 20.0,
        "step3_trajectory_generation": 4.0,
        "step4_policy_update": 9.0,
    }
    times = {f"time/{name}": value for name, value in seconds.items()}
    return {"event": "train", "generation_steps": step, "memory/peak_bytes": 2**34, "tokens/response": 90_000} | times


def _write_manifest(run: Path, *, algorithm: str, seed: int, vanilla: str | None) -> None:
    endpoint = {"split": "test", "setting": SETTING, "picked_by": "val"}
    manifest = {
        "study": run.parents[1].name,
        "variant": run.parent.name,
        "seed": seed,
        "arm": algorithm.encode().hex(),
        "algorithm": algorithm,
        "role": "vanilla" if vanilla is None else "policy",
        "config": {"seed": seed, "evaluation": {"scheme": {"endpoint": endpoint}}},
        "data": {"train": "a", "val": "b", "test": "c"},
        "status": "finished",
        "judge_version": "fixture",
        "git": {"commit": "fixture"},
        "vanilla": vanilla,
    }
    run.mkdir(parents=True, exist_ok=True)
    (run / "manifest.json").write_text(json.dumps(manifest))


def _write(path: Path, *, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _write_lines(path: Path, *, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def files_of(study: Path) -> Iterator[Path]:
    """Every file of the fixture."""
    return (path for path in study.rglob("*") if path.is_file())
