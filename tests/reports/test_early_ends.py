"""Runs of one arm that ended after different epochs, by their bottleneck: no doubt and no gap, and the report says where means thin out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import written_study
from fake_runs import ENDPOINT
from hand_runs import estimate, records_of

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.callbacks.saved_steps import remember_finished
from vlm_rl.commands.build import composed, plain
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.figures.accuracy_curves import accuracy_figure
from vlm_rl.reports.figures.curves import dynamics_figure
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.early_ends import early_end
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.results import results_of
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.accuracy_tables import _lucky_max, accuracy_table
from vlm_rl.reports.tables.behaviour_tables import bottleneck_table
from vlm_rl.reports.tables.run_tables import run_table
from vlm_rl.run_folder import RunFolder

EPOCHS, STEPS = 6, written_study.STEPS  # planned
ACCURACIES = {  # by seed: the first meets its bottleneck after epoch 3, the second after 5, the third rises to the end
    0: (0.5, 0.505, 0.5),
    1: (0.5, 0.6, 0.7, 0.7, 0.7),
    2: (0.5, 0.55, 0.6, 0.65, 0.7, 0.75),
}
RULE = ("bottleneck=training_accuracy", "bottleneck.epochs=2")


def write_run(study: Path, *, seed: int, accuracies: Sequence[float], told: Mapping[str, Any]) -> None:
    """A run with these training accuracies, evaluated after each epoch; `told`: what its manifest says of its end."""
    manifest = written_study.manifest_of("reinforce_pp", role="policy", seed=seed)
    words = [*manifest["overrides"], f"dataset.epochs={EPOCHS}", *RULE]
    config = plain(composed([*words, *(f"dataset.source.{split}_rows={n}" for split, n in written_study.ROWS.items())]))
    manifest |= {"config": config, "arm": arm_of(config), "vanilla": vanilla_of(config), "command": "python train.py study=s"}
    vanilla = RunFolder(path=study / manifest["vanilla"] / f"seed-{seed}")
    before = written_study._evaluate(vanilla, epoch=0, share=0.4, entropy=(seed,))
    own = {"variant": vanilla.path.parent.name, "arm": manifest["vanilla"].removeprefix("vanilla-"), "role": "vanilla"}
    vanilla.write_manifest(manifest | own | {"algorithm": "vanilla", "vanilla": None, "status": "finished"})
    run = RunFolder(path=study / manifest["variant"] / f"seed-{seed}")
    run.append("metrics.jsonl", {"event": "evaluation", "generation_steps": 0, "epoch": 0.0, **before})
    for epoch, accuracy in enumerate(accuracies, start=1):
        for step in range(STEPS * (epoch - 1) + 1, STEPS * epoch + 1):
            axes = {"generation_steps": step, "gradient_steps": 4 * step, "epoch": step / STEPS}
            run.append("metrics.jsonl", {"event": "train", **axes, "train/accuracy_in_epoch": accuracy})
            run.append("cost.jsonl", {"event": "train", "generation_steps": step, "time/step1_data_flow": 1.0})
        scores = written_study._evaluate(run, epoch=epoch, share=0.4 + 0.1 * epoch, entropy=(seed, 7))
        run.append("metrics.jsonl", {"event": "evaluation", **axes, **scores})
        written_study.note_checkpoint(run, step=STEPS * epoch)
    (run.path / "alerts.jsonl").touch()
    remember_finished(run)
    run.write_manifest(manifest | {"status": "finished", "picked_step": written_study._picked(run)} | told)


def told_of(epoch: int) -> dict[str, Any]:
    saved = STEPS * (EPOCHS - epoch)
    end = {"epoch": epoch, "of_epochs": EPOCHS, "generation_steps": STEPS * epoch}
    return {"bottleneck": end | {"saved_generation_steps": saved, "saved_seconds": 1800.0 * saved}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("ends") / "s"
    for seed, accuracies in ACCURACIES.items():
        ended = len(accuracies) < EPOCHS
        write_run(study, seed=seed, accuracies=accuracies, told=told_of(len(accuracies)) if ended else {})
    return study


@pytest.fixture(scope="module")
def records(study: Path) -> Records:
    return records_of(study)


def test_ends_at_different_epochs_are_no_doubt_and_no_gap(records: Records) -> None:
    (arm,) = records.trained
    assert [end and end.epoch for end in (early_end(run.run) for run in arm.used)] == [3, 5, None]
    assert [doubt.said for doubt in arm.doubts] == []
    assert [problem for problem in records.problems if "lacks" in problem or "epoch" in problem] == []


def test_the_table_of_runs_says_who_ended_early_and_what_was_saved(records: Records) -> None:
    table = run_table(records)
    rows = [row for row in table.rows if row["arm"] == records.trained[0].label]
    assert [(row.get("ended"), row.get("saved_steps"), row.get("saved_hours")) for row in rows] == [
        ("3 of 6", 6, 3.0),
        ("5 of 6", 2, 1.0),
        (None, None, None),
    ]
    assert "decided by its own training accuracy alone" in table.note


def test_means_over_seeds_say_over_how_many(records: Records) -> None:
    for figure in (accuracy_figure(records), dynamics_figure(records)):
        assert "Seeds by epoch: reinforce_pp 1-3: 3, 4-5: 2, 6-6: 1." in figure.caption
    line = dynamics_figure(records).panels[0].lines[0]
    assert line.mean().tolist() == pytest.approx([0.5, (0.505 + 0.6 + 0.55) / 3, 0.6, 0.675, 0.7, 0.75])


def test_each_maximum_is_held_against_the_luck_of_as_many_evaluations(records: Records, study: Path) -> None:
    """Seed by seed: 3, 5 and 6 evaluations. Six for each, as the longest run has, would show more luck."""
    endpoint = Endpoint(**ENDPOINT)  # type: ignore[arg-type]
    own = [read_records(find_runs([path]), reflection=None) for path in sorted(study.glob("algorithm-*/seed-*"))]
    key = {"split": "val", "setting": "pass@1_t0.6"}
    rows = [
        next(row for row in accuracy_table(each, endpoint=endpoint).rows if {name: row[name] for name in key} == key)
        for each in (records, *own)
    ]
    whole, *single = (estimate(row["lucky_max"]) for row in rows)
    assert whole == pytest.approx(sum(single) / 3)
    results = next(results_of(records, endpoint=endpoint, setting=key["setting"]))  # validation comes first
    assert whole < estimate(_lucky_max(results.vanilla, num_evaluations=dict.fromkeys(ACCURACIES, 6)))


def test_each_seed_is_picked_from_the_epochs_that_it_has(records: Records) -> None:
    endpoint = Endpoint(**ENDPOINT)  # type: ignore[arg-type]
    row = next(row for row in accuracy_table(records, endpoint=endpoint).rows if row["split"] == "test")
    picked = [int(epoch) for epoch in str(row["selected_epochs"]).split(", ")]
    assert all(epoch <= len(accuracies) for epoch, accuracies in zip(picked, ACCURACIES.values(), strict=True))
    assert row["last_epoch"] == 3


def test_the_bottleneck_of_an_arm_is_that_of_the_epochs_that_all_seeds_have(records: Records) -> None:
    (row,) = bottleneck_table(records, gain=0.01).rows
    assert (row["seeds"], row["epochs"], row["bottleneck"]) == (3, 3, None)


@pytest.mark.parametrize(
    ("accuracies", "told", "said"),
    [
        ((0.5, 0.6, 0.7), told_of(3), "it ended after epoch 3, and by the rule of its config"),  # it still rose
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5), {}, "it ended after epoch 6, and by the rule of its config"),  # it went on
        ((0.5, 0.6, 0.7), {}, "its log ends at epoch 3 of 6"),
    ],
)
def test_an_end_that_the_rule_does_not_give_is_a_doubt(
    tmp_path: Path, accuracies: Sequence[float], told: Mapping[str, Any], said: str
) -> None:
    write_run(tmp_path / "s", seed=0, accuracies=accuracies, told=told)
    doubts = [str(doubt.said) for doubt in records_of(tmp_path / "s").trained[0].doubts]
    assert any(said in doubt for doubt in doubts)


@pytest.mark.parametrize("broken", [None, 7, "3", {"epoch": True}, {"epoch": 9}, {"epoch": 3, "saved_generation_steps": -1}])
def test_what_is_no_early_end_is_none(records: Records, broken: Any) -> None:
    run = records.trained[0].used[0].run
    run.manifest["bottleneck"], before = broken, run.manifest["bottleneck"]
    try:
        assert early_end(run) is None
    finally:
        run.manifest["bottleneck"] = before
