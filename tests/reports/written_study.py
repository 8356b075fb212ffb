"""A study as real runs leave it, with configs that Hydra composed and hashes by the project's own writers; only the answers are made up."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fake_runs import sample_row

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.callbacks.evaluation_schedule import evaluation_file
from vlm_rl.callbacks.saved_steps import remember_finished
from vlm_rl.checksums import HASHES, write_hashes
from vlm_rl.commands.build import composed, plain
from vlm_rl.evaluation.evaluator import metrics
from vlm_rl.evaluation.records import SCHEMA
from vlm_rl.evaluation.settings import GenerationSetting
from vlm_rl.run_folder import RunFolder

SEEDS, EPOCHS, STEPS = (0, 1, 2), 2, 2  # steps of an epoch
ROWS = {"train": 256, "val": 10, "test": 12}
SETTINGS = (
    GenerationSetting(k=8, temperature=1.0, top_p=1.0, num_samples=8),
    GenerationSetting(k=1, temperature=0.6, top_p=1.0, num_samples=4),
    GenerationSetting(k=1, temperature=0.01, top_p=0.001, num_samples=1),
)
COMMAND = "python train.py study=s experiment=quickstart algorithm=reinforce_pp,sft seed=0,1,2 -m"
ARMS = {"reinforce_pp": "policy", "sft": "teacher"}  # algorithm -> role
START = {"time": "2026-01-01T00:00:00+00:00", "host": "a", "generation_steps": 0, "changed": {}}
MULTIRUN = """
hydra:
  overrides:
    task: [study=s, experiment=quickstart, 'algorithm=reinforce_pp,sft', 'seed=0,1,2']
  sweeper:
    params: null
"""


def write_whole_study(study: Path) -> Path:
    """Two arms of three seeds over two epochs, and their vanilla model."""
    for algorithm, role in ARMS.items():
        for seed in SEEDS:
            manifest = manifest_of(algorithm, role=role, seed=seed)
            vanilla = RunFolder(path=study / manifest["vanilla"] / f"seed-{seed}")
            run = RunFolder(path=study / manifest["variant"] / f"seed-{seed}")
            before = _evaluate(vanilla, epoch=0, share=0.4, entropy=(seed,))
            own = {"variant": vanilla.path.parent.name, "arm": manifest["vanilla"].removeprefix("vanilla-"), "role": "vanilla"}
            vanilla.write_manifest(manifest | own | {"algorithm": "vanilla", "vanilla": None, "status": "finished"})
            _train(run, before=before, entropy=(seed, len(algorithm)))
            remember_finished(run)
            run.write_manifest(manifest | {"status": "finished", "picked_step": _picked(run)})
    (study / "multirun.yaml").write_text(MULTIRUN)
    return study


def manifest_of(algorithm: str, *, role: str, seed: int) -> dict[str, Any]:
    """As a run begins."""
    words = ["study=s", "experiment=quickstart", f"algorithm={algorithm}", f"seed={seed}"]
    sizes = [f"dataset.epochs={EPOCHS}", *(f"dataset.source.{split}_rows={count}" for split, count in ROWS.items())]
    config = plain(composed([*words, *sizes]))
    names = {"study": "s", "variant": f"algorithm-{algorithm}", "seed": seed, "algorithm": algorithm, "role": role}
    hashes = {"arm": arm_of(config), "vanilla": vanilla_of(config), "data": dict.fromkeys(ROWS, "d")}
    rest = {"format": 1, "git": {"commit": "c0ffee", "diff": None}, "judge_version": "judge-1", "history": [START]}
    begun = {"command": COMMAND, "overrides": words, "status": "running", "picked_step": None}
    return {**names, **hashes, **rest, **begun, "config": config, "rows": {"count": ROWS}}


def _train(run: RunFolder, *, before: Mapping[str, float], entropy: Sequence[int]) -> None:
    """Log and evaluate as the loop does, with a note of each epoch's checkpoint."""
    generator = np.random.default_rng([*entropy, 99])
    run.append("metrics.jsonl", {"event": "evaluation", "generation_steps": 0, "epoch": 0.0, **before})
    for step in range(1, EPOCHS * STEPS + 1):
        axes = {"generation_steps": step, "gradient_steps": 4 * step, "epoch": step / STEPS}
        run.append("metrics.jsonl", {"event": "train", **axes, "train/accuracy": float(generator.random())})
        run.append("cost.jsonl", {"event": "train", "generation_steps": step, "time/step1_data_flow": 1.0})
        if step % STEPS == 0:
            epoch = step // STEPS
            scores = _evaluate(run, epoch=epoch, share=0.4 + 0.1 * epoch, entropy=entropy)
            run.append("metrics.jsonl", {"event": "evaluation", **axes, **scores})
            note_checkpoint(run, step=step)
    (run.path / "alerts.jsonl").touch()


def note_checkpoint(run: RunFolder, *, step: int) -> None:
    """What a checkpoint says of the run up to its step."""
    folder = run.path / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    write_hashes(folder / HASHES, of=folder.name, checkpoint={}, run=run.record())


def _evaluate(run: RunFolder, *, epoch: int, share: float, entropy: Sequence[int]) -> dict[str, float]:
    """Write every evaluation of an epoch and return what is logged of it."""
    tables = {}
    for place, (split, setting) in enumerate((split, setting) for split in ("val", "test") for setting in SETTINGS):
        right = np.random.default_rng([*entropy, epoch, place]).random((ROWS[split], setting.num_samples)) < share
        where = {"split": split, "setting": setting.name, "epoch": epoch}
        rows = [
            sample_row(question, sample=k, correct=bool(right[question, k]), **where) for question, k in np.ndindex(right.shape)
        ]
        tables[split, setting.name] = pa.Table.from_pylist(rows, schema=SCHEMA)
        run.write_table(str(evaluation_file(epoch, split, setting.name)), tables[split, setting.name])
    run.remember()
    return metrics(tables, settings=SETTINGS)


def _picked(run: RunFolder) -> int:
    """The generation step that validation selects, the first of equals."""
    lines = [line for line in run.lines("metrics.jsonl") if line["event"] == "evaluation" and line["generation_steps"]]
    return int(max(lines, key=lambda line: line["val/pass@1_t0.6/accuracy"])["generation_steps"])


def manifests(study: Path, pattern: str = "*/seed-*") -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    """The runs of a study with their manifests, which may be written again."""
    for file in sorted(study.glob(f"{pattern}/manifest.json")):
        run = RunFolder(path=file.parent)
        yield run, run.manifest or {}


def before_hashes(study: Path) -> Path:
    """The same study as a version wrote it that kept no hashes and no history."""
    for file in study.rglob(HASHES):
        file.unlink()
    for run, manifest in manifests(study):
        old = {key: value for key, value in manifest.items() if key not in ("history", "rows")}
        (run.path / "manifest.json").write_text(json.dumps(old))
    return study
