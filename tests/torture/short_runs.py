"""Runs of two seconds that go through everything, and what is wrong with one that was disturbed and started again."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "commands")]  # for programs that are started as they are

from forking import Finished, Forking  # noqa: E402

from vlm_rl.run_folder import RunFolder  # noqa: E402

RUN = Path("outputs", "torture", "run", "seed-0")  # a short name, so that what is told of it can be read
# 4 generation steps with a checkpoint after each; evaluated before the first and after each second.
SHORT = (
    "experiment=smoke",
    "study=torture",
    "num_threads=1",
    "dataset.source.train_rows=4",
    "dataset.source.val_rows=1",
    "dataset.source.test_rows=1",
    "dataset.batch_size=2",
    "dataset.max_new_tokens=4",
    "evaluation.scheme.splits=[val]",
    "alerts.quiet=1",  # an alert at some steps
    "alerts.rules.truncation.window=2",
)
IN_RUN = (f"hydra.run.dir={RUN}",)
ALGORITHMS: Mapping[str, Sequence[str]] = {
    "reinforce_pp": ("algorithm=reinforce_pp", "reward=random", "algorithm.score_at=last_token"),
    "dapo": (
        "algorithm=dapo",
        "reward=random",
        "algorithm.group_size=4",
        "algorithm.dynamic_sampling.metric=score",
        "dataset.source.train_rows=6",
        "dataset.max_new_tokens=16",
        "rollout.temperature=4",  # else all responses to a query are the same
    ),
    "sft": ("algorithm=sft",),
}
CONTENT = (
    "metrics.jsonl",
    "alerts.jsonl",
    "checkpoints/step-[0-9]*[0-9]/adapter_model.safetensors",
    "completions/*.parquet",
    "evaluations/*/*.parquet",
)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What an undisturbed run leaves: hashes of the files of the run and of the vanilla model, in one folder of a study."""

    arguments: Sequence[str]
    content: Mapping[str, str] = field(repr=False)
    num_steps: int


def short(algorithm: str) -> tuple[str, ...]:
    """The overrides of a short run."""
    return (*SHORT, *ALGORITHMS[algorithm], *IN_RUN)


def undisturbed(forking: Forking, arguments: Sequence[str], *, cwd: Path) -> Whole:
    """Trains in an empty folder. Raises AssertionError where nothing was learned: equality would show little."""
    finished = forking.run("train.py", arguments, cwd=cwd)
    assert finished.code == 0, finished.out + finished.err
    for run in runs(cwd):
        norms = [line["policy/gradient_norm"] for line in run.lines("metrics.jsonl") if line["event"] == "train"]
        assert len(norms) == len(set(norms)) and all(norms), norms
    assert faults(cwd, num_steps=len(norms)) == []
    return Whole(arguments=tuple(arguments), content=content(cwd), num_steps=len(norms))


def runs(cwd: Path) -> list[RunFolder]:
    """The trained runs, without the vanilla models."""
    return [RunFolder(path=file.parent) for file in sorted(cwd.glob("outputs/*/*/seed-*/metrics.jsonl"))]


def content(cwd: Path) -> dict[str, str]:
    """Hashes of all that must not differ; cost.jsonl and manifests tell of the time and the machine."""
    files = [file for pattern in CONTENT for file in sorted(cwd.glob(f"outputs/*/*/seed-*/{pattern}"))]
    return {str(file.relative_to(cwd / "outputs")): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def differences(finished: Finished, cwd: Path, whole: Whole) -> list[str]:
    """What is wrong with a run that was disturbed and has ended, one sentence each."""
    wrong = [] if finished.code == 0 else [f"exit code {finished.code}: {last_words(finished)}"]
    if "Traceback" in finished.err:
        wrong.append("a traceback was shown")
    now = content(cwd)
    for path in sorted(now.keys() | whole.content.keys()):
        if now.get(path) != whole.content.get(path):
            wrong.append(f"{path}: {'missing' if path not in now else 'too much' if path not in whole.content else 'differs'}")
    return wrong + faults(cwd, num_steps=whole.num_steps)


def faults(cwd: Path, *, num_steps: int) -> list[str]:
    """What must not be in any finished study, whatever was trained."""
    wrong = [f"{path.relative_to(cwd)} was left" for path in sorted((cwd / "outputs").rglob("*.tmp"))]
    manifests = sorted(cwd.glob("outputs/*/*/seed-*/manifest.json"))
    for file in manifests:
        wrong += [] if is_finished(file) else [f"{file.relative_to(cwd)} is not that of a finished run"]
    wrong += [] if manifests else ["there is no manifest"]
    for run in runs(cwd):
        wrong += [
            sentence for name in ("metrics.jsonl", "cost.jsonl") for sentence in wrong_lines(run, name, num_steps=num_steps)
        ]
    return wrong


def is_finished(manifest: Path) -> bool:
    """Whether it is whole and says so."""
    try:
        return bool(json.loads(manifest.read_text(encoding="utf-8"))["status"] == "finished")
    except (ValueError, KeyError, TypeError):
        return False


def wrong_lines(run: RunFolder, name: str, *, num_steps: int) -> list[str]:
    """Records that are there twice or are missing, and lines that are none."""
    text = (run.path / name).read_text(encoding="utf-8", errors="replace") if (run.path / name).exists() else ""
    try:
        lines = [json.loads(line) for line in text.splitlines()]
        counts = Counter((line["event"], line["generation_steps"]) for line in lines)
    except (ValueError, KeyError, TypeError):
        return [f"{name} has a line that is no record"]
    steps = [step for event, step in counts if event == "train"]
    wrong = [f"{name}: {event} at step {step} is there {n} times" for (event, step), n in counts.items() if n > 1]
    missing = sorted(set(range(1, num_steps + 1)) - set(steps))
    return wrong + [f"{name}: step {step} is missing" for step in missing]


def last_words(finished: Finished) -> str:
    """The last line that a command said."""
    lines = (finished.err.strip() or finished.out.strip()).splitlines()
    return next((line for line in reversed(lines) if line.strip() and not line.startswith("(")), "")
