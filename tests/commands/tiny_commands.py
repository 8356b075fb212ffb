"""The smallest runs that go through everything: a random reward, so that there is always something to learn."""

import hashlib
from pathlib import Path

from forking import Finished, Forking

from vlm_rl.run_folder import RunFolder

# 8 generation steps of 4 responses, evaluated twice. Responses are cut off: the score must reach them all the same.
TINY = (
    "experiment=smoke",
    "num_threads=1",
    "dataset.source.train_rows=16",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=4",
    "dataset.max_new_tokens=6",
    "evaluation.scheme.splits=[val]",
    "reward=random",
    "algorithm.score_at=last_token",
    "alerts.quiet=1",  # alerts at several steps, some of which depend on the steps before
    "alerts.rules.reward_collapse.window=1",
    "alerts.rules.reward_collapse.largest_loss=0.1",
    "alerts.rules.length_explosion.window=1",
    "alerts.rules.length_explosion.largest_factor=1.0",
    "alerts.rules.truncation.window=3",
)
NUM_STEPS = 8
BRIEF = (*TINY, "dataset.epochs=1", "dataset.source.train_rows=8")  # 2 steps
CONTENT = (
    "metrics.jsonl",
    "alerts.jsonl",
    "completions/*.parquet",
    "evaluations/*/*.parquet",
)


def train(forking: Forking, cwd: Path, *overrides: str) -> Finished:
    """`python train.py ...`, which must end well."""
    finished = forking.run("train.py", overrides, cwd=cwd)
    assert finished.code == 0, finished.out + finished.err
    return finished


def only_run(cwd: Path, *, study: str, seed: int = 0) -> RunFolder:
    """The one trained run of a study and seed."""
    (path,) = (p for p in (cwd / "outputs" / study).glob(f"*/seed-{seed}") if not p.parent.name.startswith("vanilla-"))
    return RunFolder(path=path)


def content(run: RunFolder, *, checkpoints: slice = slice(None)) -> dict[str, str]:
    """Hashes of all that must not differ between two runs of a seed; cost.jsonl and the manifest tell the time and the machine.

    `checkpoints`: which of them count, where those that are kept may differ.
    """
    files = [file for pattern in CONTENT for file in sorted(run.path.glob(pattern))]
    files += sorted((run.path / "checkpoints").glob("*/adapter_model.safetensors"))[checkpoints]
    return {str(file.relative_to(run.path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def trained_steps(run: RunFolder) -> list[int]:
    """The generation steps that metrics.jsonl tells of, in order."""
    return [line["generation_steps"] for line in run.lines("metrics.jsonl") if line["event"] == "train"]
