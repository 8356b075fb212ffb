import json
from pathlib import Path

import pytest
from fake_runs import write_manifest, write_study

from vlm_rl.reports.reading.runs import ReportError, find_runs, untrained_folder


def test_study_variant_and_run_folders_all_lead_to_runs(tmp_path: Path) -> None:
    study = write_study(tmp_path / "a", seeds=(0, 1), epochs=1, questions=2)
    names = [run.name for run in find_runs([study]).runs]
    assert names == [
        f"a/{variant}/seed-{seed}" for variant in ("algorithm-sft", "default", "vanilla-1a2b3c4d") for seed in (0, 1)
    ]
    assert [run.name for run in find_runs([study / "default"]).runs] == ["a/default/seed-0", "a/default/seed-1"]
    one = find_runs([study / "default" / "seed-1", study / "default" / "seed-1"]).runs
    assert [run.name for run in one] == ["a/default/seed-1"]
    assert untrained_folder(one[0]) == study / "vanilla-1a2b3c4d" / "seed-1"


def test_a_misspelt_folder_is_answered_with_the_nearest_names(tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()
    with pytest.raises(ReportError, match=r"there is no folder .*quikstart. Nearest in .*: quickstart\."):
        find_runs([tmp_path / "quikstart"])
    with pytest.raises(ReportError, match="does not exist either"):
        find_runs([tmp_path / "nowhere" / "at-all"])


def test_a_folder_without_runs_says_what_was_looked_for_and_where_runs_are(tmp_path: Path) -> None:
    write_study(tmp_path / "full", seeds=(0,), epochs=1, questions=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ReportError, match=r"no run under .*empty\. Looked for .*manifest\.json.*Folders with runs nearby: .*full"
    ):
        find_runs([tmp_path / "empty"])


def test_a_broken_manifest_costs_its_own_run_only(tmp_path: Path) -> None:
    study = write_study(tmp_path / "a", seeds=(0, 1), epochs=1, questions=2)
    (study / "default" / "seed-0" / "manifest.json").write_text('{"study": "a"')
    found = find_runs([study / "default"])
    assert [run.seed for run in found.runs] == [1]
    assert "seed-0/manifest.json could not be read" in found.problems[0]


def test_a_manifest_written_by_hand_reads_back(tmp_path: Path) -> None:
    write_manifest(tmp_path / "s" / "v" / "seed-7", algorithm="grpo", seed=7, arm="ab" * 8, vanilla=None, status="running")
    (run,) = find_runs([tmp_path / "s"]).runs
    assert (run.algorithm, run.seed, run.finished, run.vanilla) == ("grpo", 7, False, None)
    assert json.loads((run.path / "manifest.json").read_text())["format"] == 1
