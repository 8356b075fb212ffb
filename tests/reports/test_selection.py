"""Which runs count where an arm and seed is there twice or not passed at all, and that it is said."""

import json
from pathlib import Path

import pytest
from fake_runs import write_manifest
from hand_runs import SETTING, VANILLA, records_of, write_by_hand

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records, select_runs
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.verdicts.family import Judged, verdicts_of

RIGHT = {(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 5, ("grpo", 0, 1): 6, ("grpo", 1, 1): 8}


def of_both(tmp_path: Path) -> Records:
    return read_records(find_runs([tmp_path / "a", tmp_path / "b"]), reflection=None)


def the_verdict(records: Records) -> Judged:
    """On val, which these runs are evaluated on, by its own best epoch: there is but one."""
    (verdict,) = verdicts_of(
        records, endpoint=Endpoint(split="val", setting=SETTING, picked_by="test"), reference=None, smallest_effect=0.02
    )
    return verdict


def test_a_finished_run_counts_before_an_unfinished_one_of_the_same_arm_and_seed(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a", right={("grpo", 0, 1): 4}, status="running")
    write_by_hand(tmp_path / "b", right={("grpo", 0, 1): 6})
    records = of_both(tmp_path)
    (run,) = records.arms[0].runs
    assert (run.run.study, run.evaluations[1, "val", SETTING].accuracy()) == ("b", 0.6)
    assert "a/grpo/seed-0 repeats b/grpo/seed-0 (same arm and seed) and is left out." in records.problems
    assert records.arms[0].absent == ("a/grpo/seed-0 repeats seed 0",)


def test_of_two_finished_runs_the_second_is_named_in_the_verdict(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a", right=RIGHT)
    write_by_hand(tmp_path / "b", right=RIGHT)
    verdict = the_verdict(of_both(tmp_path))
    assert "a/grpo/seed-0" not in " ".join(verdict.comparison.dropped)
    assert {"b/grpo/seed-0 repeats seed 0", "b/grpo/seed-1 repeats seed 1"} <= set(verdict.comparison.dropped)


def test_two_studies_with_the_same_untrained_model_are_nothing_odd(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    write_by_hand(tmp_path / "b", right={(VANILLA, 0, 0): 4, ("rloo", 0, 1): 5})
    assert [problem for problem in of_both(tmp_path).problems if "has no generation step" not in problem] == []


def test_an_untrained_model_of_a_second_study_is_checked_though_another_stands_for_it(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    write_by_hand(tmp_path / "b", right={(VANILLA, 0, 0): 4}, row={"judge_version": "judge-2"})
    write_by_hand(tmp_path / "b", right={("rloo", 0, 1): 5})
    problems = of_both(tmp_path).problems
    assert any("different judge versions (judge-1: grpo, vanilla, rloo; judge-2: vanilla)" in problem for problem in problems)


def test_an_untrained_model_that_repeats_another_with_other_data_is_named(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a", right={(VANILLA, 0, 0): 4})
    write_by_hand(tmp_path / "b", right={(VANILLA, 0, 0): 4}, data={"train": "a", "val": "other", "test": "c"})
    assert any(f"b/{VANILLA}/seed-0 repeats a/{VANILLA}/seed-0" in problem for problem in of_both(tmp_path).problems)


def test_an_untrained_model_that_was_not_passed_is_asked_for_its_data_all_the_same(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", seed, 1): 6 for seed in range(3)})
    other = {"train": "a", "val": "other", "test": "c"}
    write_by_hand(study, right={(VANILLA, seed, 0): 4 for seed in range(3)}, data=other)
    records = records_of(study / "grpo")
    assert {run.untrained.name for run in records.arms[0].runs if run.untrained} == {f"s/{VANILLA}/seed-{n}" for n in range(3)}
    assert any("different val data (b: grpo; other: vanilla)" in problem for problem in records.problems)


def test_an_untrained_model_whose_manifest_is_broken_gives_no_epoch_0(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    (study / VANILLA / "seed-0" / "manifest.json").write_text('{"study": ')
    records = records_of(study / "grpo")
    assert [epoch for epoch, _, _ in records.arms[0].runs[0].evaluations] == [1]
    assert any(f"{VANILLA}/seed-0/manifest.json could not be read" in problem for problem in records.problems)


@pytest.mark.parametrize("passed", [("seed-0", "seed-2"), ("seed-2", "seed-0", "seed-0")])
def test_seeds_that_were_not_passed_are_named(tmp_path: Path, passed: tuple[str, ...]) -> None:
    for seed in range(4):
        write_manifest(tmp_path / "s" / "grpo" / f"seed-{seed}", algorithm="grpo", seed=seed, arm="a" * 16, vanilla=None)
    found = find_runs([tmp_path / "s" / "grpo" / name for name in passed])
    assert [run.seed for run in found.runs] == [0, 2]
    assert [run.seed for run in found.not_passed] == [1, 3]
    selection = select_runs(found)
    assert selection.absent == {
        "a" * 16: ("s/grpo/seed-1 was not passed to the report", "s/grpo/seed-3 was not passed to the report")
    }
    assert [problem.split(" is one more seed")[0] for problem in selection.problems] == ["s/grpo/seed-1", "s/grpo/seed-3"]
    assert "Pass the whole folder s/grpo." in selection.problems[0]
    assert find_runs([tmp_path / "s"]).not_passed == ()


def test_a_run_of_another_arm_beside_those_passed_is_none_of_theirs(tmp_path: Path) -> None:
    for seed in range(2):
        write_manifest(tmp_path / "s" / "grpo" / f"seed-{seed}", algorithm="grpo", seed=seed, arm=str(seed) * 16, vanilla=None)
    assert find_runs([tmp_path / "s" / "grpo" / "seed-0"]).not_passed == ()


def test_a_run_table_names_every_judge_whose_verdicts_are_on_disk(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4}, row={"judge_version": "judge-2"})
    write_by_hand(study, right={("grpo", 0, 2): 4})
    manifest = study / "grpo" / "seed-0" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"judge_version": "judge-3"}))
    assert records_of(study).arms[0].runs[0].run.judge_version == "judge-1, judge-2"
