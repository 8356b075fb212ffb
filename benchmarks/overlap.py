"""Does it cost anything to learn from responses that are one version old? Trains the tiny model both ways and compares.

    python benchmarks/overlap.py [--seeds 5] [--epochs 3] [--study overlap] [TRAIN_WORD ...]

`rollout.overlap=0` and `=1` for the same seeds, evaluated once at the end. The engine is the embedded one behind the calls of a server,
so that no server is needed: what overlaps is only the order of steps, which is all that changes what is learned. Times mean nothing.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vlm_rl.evaluation.statistics import Difference, unpaired_difference
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.rollout.engine import Sampling, SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.types import QueryBatch

ROOT = Path(__file__).parents[1]
ENGINE = {"_target_": "overlap.EmbeddedServer", "forward_batch_size": 256, "max_cache_tokens": None}
EMBEDDED = ENGINE | {"_target_": "vlm_rl.rollout.huggingface_engine.HuggingFaceEngine"}
TESTED = "test_pass@1_t0.6.parquet"


class EmbeddedServer(HuggingFaceEngine):
    """Samples at once with the weights that were loaded last, and keeps the responses until they are asked for."""

    takes_adapters_only = False

    def connect(self, policy: Policy, prompts: Prompts, *, run: str, advice: str = "") -> None:
        """There is nobody to connect to."""

    def load(self, policy: Policy) -> None:
        super().load(policy)
        self._loaded = policy.trained_weights()

    def begin(
        self, queries: QueryBatch, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray], **_: bool
    ) -> Sampling:
        """Done when it returns."""
        assert self._policy is not None
        with self._policy.holding(self._loaded, version=0):
            responses = self.generate_each(queries, settings, seeds)
        return lambda: responses

    def close(self) -> None:
        """There is nothing to close."""


def word(key: str, settings: Mapping[str, Any]) -> str:
    """A mapping as a word of the command line."""
    inside = ",".join(f"{name}:{'null' if value is None else value}" for name, value in settings.items())
    return f"{key}={{{inside}}}"


def train(given: argparse.Namespace, more: Sequence[str]) -> None:
    """Both arms with all seeds, two runs at a time."""
    words = [
        *(word("rollout.engine", ENGINE), word("rollout.evaluation_engine", EMBEDDED)),
        *("rollout.overlap=0,1", f"seed={','.join(map(str, range(given.seeds)))}", f"study={given.study}"),
        *(f"dataset.epochs={given.epochs}", f"evaluation.scheme.every_epochs={given.epochs}"),
        *("num_threads=1", "trainer.accelerator=cpu", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *more, "-m"),
    ]
    folders = f"{ROOT / 'benchmarks'}:{ROOT}"
    subprocess.run([sys.executable, str(ROOT / "train.py"), *words], check=True, env=os.environ | {"PYTHONPATH": folders})


def scores(study: Path, *, overlap: int) -> np.ndarray:
    """Share of right samples, (seed, question), after the last epoch."""
    rows = []
    for file in sorted(study.glob("*/seed-*/manifest.json")):
        manifest, run = json.loads(file.read_text()), file.parent
        if (
            manifest["role"] != "policy"
            or manifest["status"] != "finished"
            or manifest["config"]["rollout"]["overlap"] != overlap
        ):
            continue
        table = pq.read_table(sorted((run / "evaluations").glob("epoch-*"))[-1] / TESTED, columns=["row_id", "verdict"])
        frame = table.to_pandas()
        rows.append((frame["verdict"] == "correct").groupby(frame["row_id"]).mean().sort_index().to_numpy())
    return np.array(rows)


def difference(study: Path) -> Difference:
    """Overlapping less in turn."""
    return unpaired_difference(scores(study, overlap=1), reference=scores(study, overlap=0))


def main() -> None:
    """Trains, and prints the difference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--study", default="overlap")
    given, more = parser.parse_known_args()
    train(given, more)
    study = Path("outputs") / given.study
    for overlap in (0, 1):
        print(f"overlap {overlap}: {100 * scores(study, overlap=overlap).mean(axis=1).round(4)} % by seed, test, T = 0.6")
    found = difference(study)
    for name, interval in (("new questions", found.new_questions()), ("these questions", found.same_benchmark())):
        print(
            f"difference {100 * interval.estimate:+.1f} points [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}], {name}"
        )


if __name__ == "__main__":
    main()
