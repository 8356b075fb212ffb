"""What people do to a finished study, by mistake or to look better; each function changes a study's folder in place."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from written_study import COMMAND, SEEDS, manifests

from vlm_rl.arm_hash import arm_of
from vlm_rl.callbacks.saved_steps import remember_finished
from vlm_rl.checksums import hash_of
from vlm_rl.evaluation.evaluator import accuracy
from vlm_rl.run_folder import RunFolder

ARM, OTHER = "algorithm-reinforce_pp", "algorithm-sft"
JUDGED = "test_pass@1_t0.6.parquet"
Attack = Callable[[Path], None]
Edit = Callable[[pa.Table], pa.Table]


def edit(files: Iterator[Path], change: Edit) -> None:
    """Each file with what `change` makes of its rows."""
    for file in files:
        pq.write_table(change(pq.read_table(file)), file)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


def all_right(table: pa.Table, *, accuracy: float = 1.0, verdict: str | None = "correct") -> pa.Table:
    """Every answer right, with its verdict unless that is None."""
    changed = with_column(table, "accuracy", pa.array([accuracy] * table.num_rows, pa.float32()))
    return changed if verdict is None else with_column(changed, "verdict", pa.array([verdict] * table.num_rows))


def answers_set_right(study: Path) -> None:
    edit(study.glob(f"{ARM}/seed-0/evaluations/epoch-0002/{JUDGED}"), all_right)


def accuracies_set_right_without_their_verdicts(study: Path) -> None:
    edit(study.glob(f"{ARM}/seed-*/evaluations/epoch-0002/{JUDGED}"), lambda table: all_right(table, verdict=None))


def answers_set_wrong_in_vanilla_alone(study: Path) -> None:
    edit(
        study.glob(f"vanilla-*/seed-*/evaluations/epoch-0000/{JUDGED}"),
        lambda table: all_right(table, accuracy=0.0, verdict="wrong"),
    )


def hardest_questions_removed(study: Path) -> None:
    edit(
        study.glob("*/seed-*/evaluations/*/test_*.parquet"),
        lambda table: table.filter(pc.not_equal(table["row_id"], "test-0000")),
    )


def wrong_samples_removed(study: Path) -> None:
    def kept(table: pa.Table) -> pa.Table:
        return table.filter(pc.or_(pc.greater(table["accuracy"], 0.5), pc.less(table["sample"], 2)))

    edit(study.glob(f"{ARM}/seed-0/evaluations/*/{JUDGED}"), kept)


def samples_renumbered(study: Path) -> None:
    edit(
        study.glob(f"{ARM}/seed-0/evaluations/*/{JUDGED}"),
        lambda table: with_column(table, "sample", pc.cast(pc.add(table["sample"], 4), pa.int32())),
    )


def epoch_removed(study: Path) -> None:
    shutil.rmtree(study / ARM / "seed-0" / "evaluations" / "epoch-0001")


def epoch_added(study: Path) -> None:
    folder = study / ARM / "seed-0" / "evaluations"
    shutil.copytree(folder / "epoch-0002", folder / "epoch-0003")


def epochs_swapped(study: Path) -> None:
    first, second = (study / ARM / "seed-0" / "evaluations" / f"epoch-000{epoch}" for epoch in (1, 2))
    first.rename(study / "aside")
    second.rename(first)
    (study / "aside").rename(second)


def evaluation_of_another_seed(study: Path) -> None:
    shutil.copy(study / ARM / "seed-1/evaluations/epoch-0002" / JUDGED, study / ARM / "seed-0/evaluations/epoch-0002" / JUDGED)


def evaluations_of_another_arm(study: Path) -> None:
    place = Path("seed-0", "evaluations", "epoch-0002")
    shutil.copytree(study / OTHER / place, study / ARM / place, dirs_exist_ok=True)


def file_cut_off(study: Path) -> None:
    file = study / ARM / "seed-0/evaluations/epoch-0002" / JUDGED
    file.write_bytes(file.read_bytes()[:-100])


def rows_doubled(study: Path) -> None:
    edit(
        study.glob(f"{ARM}/seed-0/evaluations/epoch-0002/{JUDGED}"), lambda table: pa.concat_tables([table, table.slice(0, 3)])
    )


def hashes_removed(study: Path) -> None:
    (study / ARM / "seed-0" / "hashes.json").unlink()


def hashes_of_another_run(study: Path) -> None:
    shutil.copy(study / ARM / "seed-1" / "hashes.json", study / ARM / "seed-0" / "hashes.json")


def log_cut_off(study: Path) -> None:
    file = study / ARM / "seed-0" / "metrics.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-4]))


def evaluation_and_log_edited_together(study: Path) -> None:
    folder = study / ARM / "seed-0"
    answers_set_right(study)
    right = accuracy(pq.read_table(folder / "evaluations" / "epoch-0002" / JUDGED), k=1)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines[-1]["test/pass@1_t0.6/accuracy"] = right
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def all_but_the_checkpoints_made_again(study: Path) -> None:
    """Evaluation, log and the run's own hashes agree; the notes of the checkpoints do not."""
    evaluation_and_log_edited_together(study)
    run = RunFolder(path=study / ARM / "seed-0")
    run.hashes = {name: hash_of(run.path / name) for name in run.remembered("a finished run") if name.endswith(".parquet")}
    remember_finished(run)


def vanilla_seed_removed(study: Path) -> None:
    for folder in study.glob("vanilla-*/seed-1"):
        shutil.rmtree(folder)


def seed_removed(study: Path) -> None:
    shutil.rmtree(study / ARM / "seed-1")


def manifest_of_a_seed_removed(study: Path) -> None:
    (study / ARM / "seed-1" / "manifest.json").unlink()


def seed_removed_from_every_arm(study: Path) -> None:
    """And nothing but the vanilla model tells of it: each seed had a command of its own."""
    for run, manifest in manifests(study):
        run.write_manifest(manifest | {"command": f"python train.py study=s seed={manifest['seed']}"})
    (study / "multirun.yaml").unlink()
    for arm in (ARM, OTHER):
        shutil.rmtree(study / arm / "seed-1")


def seed_removed_that_only_the_sweep_names(study: Path) -> None:
    for run, manifest in manifests(study):
        run.write_manifest(manifest | {"command": "python train.py study=s"})
    seed_removed(study)


def seed_removed_of_a_group(study: Path) -> None:
    for run, manifest in manifests(study):
        run.write_manifest(manifest | {"command": "python train.py study=s seeds=paper -m"})
    (study / "multirun.yaml").unlink()
    seed_removed(study)


def seed_renamed(study: Path) -> None:
    (study / ARM / "seed-1").rename(study / ARM / "seed-7")


def seed_copied_under_another(study: Path) -> None:
    """With its manifest, hashes and vanilla model made to fit."""
    (vanilla,) = study.glob("vanilla-*")
    for folder in (study / ARM, vanilla):
        shutil.copytree(folder / "seed-0", folder / "seed-3")
        run = RunFolder(path=folder / "seed-3")
        manifest = run.manifest or {}
        run.write_manifest(manifest | {"seed": 3, "config": manifest["config"] | {"seed": 3}})


def rewritten(
    study: Path, changes: Callable[[dict[str, Any]], dict[str, Any]], *, pattern: str = "*/seed-*", sealed: bool
) -> None:
    """Manifests with other values, with a seal that fits or the old one."""
    for run, manifest in manifests(study, pattern):
        seal = json.loads((run.path / "manifest.json").read_text()).get("sha256")
        run.write_manifest(manifest | changes(manifest))
        if not sealed and seal:
            written = json.loads((run.path / "manifest.json").read_text())
            (run.path / "manifest.json").write_text(json.dumps(written | {"sha256": seal}))


def other_endpoint(manifest: dict[str, Any]) -> dict[str, Any]:
    config = json.loads(json.dumps(manifest["config"]))
    config["evaluation"]["scheme"]["endpoint"]["setting"] = "pass@8_t1.0"
    return {"config": config}


def endpoint_rewritten(study: Path) -> None:
    rewritten(study, other_endpoint, sealed=False)


def endpoint_rewritten_and_sealed(study: Path) -> None:
    rewritten(study, other_endpoint, sealed=True)


def plan_rewritten_and_seals_deleted(study: Path) -> None:
    for file in study.glob("*/seed-*/manifest.json"):
        manifest = json.loads(file.read_text())
        manifest["config"]["evaluation"]["scheme"]["endpoint"] |= {"planned_looks": 5, "smallest_effect": 0.5}
        file.write_text(json.dumps({key: value for key, value in manifest.items() if key != "sha256"}))


def bad_seed_called_unfinished(study: Path) -> None:
    rewritten(study, lambda _: {"status": "running"}, pattern=f"{ARM}/seed-1", sealed=True)


def other_step_picked(study: Path) -> None:
    rewritten(study, lambda manifest: {"picked_step": 6 - manifest["picked_step"]}, pattern=f"{ARM}/seed-*", sealed=True)


def other_vanilla_model(study: Path) -> None:
    (vanilla,) = study.glob("vanilla-*")
    shutil.copytree(vanilla, study / "vanilla-00000000")
    rewritten(study, lambda _: {"vanilla": "vanilla-00000000"}, pattern=f"{ARM}/seed-*", sealed=True)


def bad_seed_made_another_arm(study: Path) -> None:
    """Its config and arm hash agree, and so it is an arm of one seed; the commands of the others name its seed."""

    def other(manifest: dict[str, Any]) -> dict[str, Any]:
        config = manifest["config"] | {"max_skipped_updates": 6}
        return {"config": config, "arm": arm_of(config)}

    rewritten(study, other, pattern=f"{ARM}/seed-1", sealed=True)


assert f"seed={','.join(map(str, SEEDS))}" in COMMAND
