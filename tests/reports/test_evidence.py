"""What runs are held against, piece by piece: seeds that commands name, counts that configs name, and records that say nonsense."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hand_runs import records_of
from test_attacks import ARM, attacked
from written_study import before_hashes, manifests

from vlm_rl.checksums import sealed
from vlm_rl.reports.reading.expected_seeds import SEED_GROUPS, seeds_asked, sweep_of, values_of
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.rewards.judge import Verdict
from vlm_rl.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(written_study: Path) -> Path:
    return written_study


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        ("python train.py seed=0,1,2 -m", {0, 1, 2}),
        ("python train.py seed=range(4) -m", {0, 1, 2, 3}),
        ("python train.py seed=range(1,4) -m", {1, 2, 3}),
        ("python train.py seed=range(0,6,2) -m", {0, 2, 4}),
        ("python train.py seed=choice(3,5) -m", {3, 5}),
        ("python train.py seeds=five -m", {0, 1, 2, 3, 4}),
        ("python train.py seeds=five seed=7 -m", {7}),
        ("python train.py seed=0,1 seed=3 -m", {3}),
        ("python train.py hydra.sweeper.params.seed=0,4 -m", {0, 4}),
        ("python train.py seeds=our_own -m", set()),
        ("python train.py seed=${oc.env:SEED} dataset.subset_seed=0,1", set()),
        ("python train.py seed=range(0,5,0) -m", set()),
        ("python train.py -m", set()),
    ],
)
def test_the_seeds_that_a_command_names(words: str, seeds: set[int]) -> None:
    assert seeds_asked(words.split()) == seeds


@pytest.mark.parametrize(
    ("typed", "by_hydra"),  # the words of a command, and what the manifests of its jobs hold
    [
        ("grpo,sft", ["grpo", "sft"]),
        ("1e-5,1e-6", ["1e-05", "1e-06"]),
        ("choice(1e-5, 0.10)", ["1e-05", "0.1"]),
        ("[q, v],[q]", ["[q,v]", "[q]"]),
        ("true,null,1_000", ["True", "null", "1000"]),
        ("'a,b',\"c d\"", ["'a,b'", '"c d"']),
    ],
)
def test_values_are_known_however_they_are_written(typed: str, by_hydra: list[str]) -> None:
    assert values_of(typed) == [value for word in by_hydra for value in values_of(word)]
    assert len(values_of(typed)) == len(by_hydra)


@pytest.mark.parametrize("word", ["range(1,4)", "glob(*)", "${oc.env:A},b", "sort(b,a)", "[" * 5000, "&a [1],*a", "2026-13-45"])
def test_values_that_only_hydra_knows_are_none(word: str) -> None:
    assert values_of(word) == []


@pytest.mark.parametrize(
    ("command", "jobs"),
    [
        ("algorithm.kl_loss_coef=1e-5,2e-5", ["algorithm.kl_loss_coef=1e-05", "algorithm.kl_loss_coef=2e-05"]),
        ("algorithm.kl_loss_coef=1e-5", ["algorithm.kl_loss_coef=1e-05"] * 2),
        ("evaluation.scheme.splits='[val, test]'", ["evaluation.scheme.splits=[val,test]"] * 2),
        ("algorithm='glob([gs]*)'", ["algorithm=grpo", "algorithm=sft"]),
        ("study=s,another", ["study=s"] * 2),
    ],
)
def test_no_arm_is_missing_that_hydra_only_writes_in_another_way(study: Path, command: str, jobs: list[str]) -> None:
    for run, manifest in manifests(study):
        job = jobs[manifest["algorithm"] == "sft"]
        run.write_manifest(manifest | {"command": f"python train.py {command} seed=0,1,2 -m", "overrides": [job]})
    assert records_of(study).problems == ()


def test_an_unfinished_run_whose_seed_was_run_again_is_not_missed(study: Path) -> None:
    """As where a run was stopped and typed again with a word more, which gives it a folder of its own."""
    shutil.copytree(study / ARM / "seed-0", study / "stopped" / "seed-0")
    run = RunFolder(path=study / "stopped" / "seed-0")
    run.clear()
    run.write_manifest((run.manifest or {}) | {"variant": "stopped", "status": "running"})
    (arm,) = read_records(find_runs([study / ARM]), reflection=None).trained
    assert arm.doubts == ()
    assert arm.absent == ()
    run.write_manifest((run.manifest or {}) | {"status": "finished"})
    (arm,) = read_records(find_runs([study / ARM]), reflection=None).trained
    assert [doubt.kind for doubt in arm.doubts] == ["missing_seeds"]


def test_the_groups_of_seeds_are_those_of_the_configs() -> None:
    named = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "conf" / "seeds").glob("*.yaml")}
    lists = {name: group["hydra"]["sweeper"]["params"]["seed"] for name, group in named.items() if group}
    assert lists == {name: ",".join(map(str, seeds)) for name, seeds in SEED_GROUPS.items()}


@pytest.mark.parametrize(
    "text",
    ["", "hydra:", "[1, 2]", "hydra: {overrides: 3, sweeper: 4}", "a: [", "hydra: {overrides: {task: [seed=0]}, sweeper: []}"],
)
def test_a_sweep_that_says_nonsense_names_no_seeds(tmp_path: Path, text: str) -> None:
    (tmp_path / "multirun.yaml").write_text(text)
    assert sweep_of(tmp_path) is None


def test_judging_again_contradicts_no_log_and_no_picked_step(study: Path) -> None:
    """Here a judge that finds nothing right."""

    def nothing_right(responses: Sequence[str], _: Sequence[str]) -> list[Verdict]:
        return [Verdict.WRONG] * len(responses)

    records = read_records(find_runs([study]), reflection=None, judge=nothing_right)
    assert attacked(records).runs[0].evaluations[2, "test", "pass@1_t0.6"].accuracy() == 0
    assert [arm.doubts for arm in records.arms] == [(), (), ()]


SAYS_NONSENSE: list[dict[str, Any]] = [
    {"config": {"seed": "x", "evaluation": {"scheme": {"endpoint": "val", "settings": [1, {"k": {}}], "splits": [1, None]}}}},
    {
        "config": {
            "dataset": {"epochs": 10**12, "source": 3, "subset": [1], "filter": "a"},
            "evaluation": {"scheme": {"every_epochs": 1}},
        }
    },
    {"config": {"trainer": {}, "evaluation": {"scheme": {"endpoint": {}}}, "model": {}}},
    {"rows": [1], "history": "x", "overrides": 3, "command": "python 'train.py seed=0,1", "picked_step": "2"},
    {"rows": {"count": {"val": "10", "test": None}}, "history": [None, {"changed": {"command": 3}}], "command": ["a"]},
]


@pytest.mark.parametrize("nonsense", SAYS_NONSENSE)
def test_a_manifest_that_says_nonsense_breaks_no_report(study: Path, nonsense: dict[str, Any]) -> None:
    for run, manifest in manifests(before_hashes(study)):
        (run.path / "manifest.json").write_text(json.dumps(manifest | nonsense))
    assert len(records_of(study).arms) == 3


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "[]",
        "{}",
        json.dumps(sealed({"of": "a finished run", "run": {"metrics.jsonl": {"num_bytes": "many", "sha256": 3}}})),
        json.dumps(
            sealed({"of": "a finished run", "run": {"evaluations/../../x/manifest.json": {"num_bytes": 1, "sha256": ""}}})
        ),
        json.dumps(sealed({"of": "a finished run", "run": [1]})),
    ],
)
def test_hashes_that_say_nonsense_are_a_doubt(study: Path, nonsense: str) -> None:
    (study / ARM / "seed-0" / "hashes.json").write_text(nonsense)
    assert {doubt.kind for doubt in attacked(records_of(study)).doubts} == {"changed_files"}


def test_rows_come_from_the_config_where_the_manifest_counted_none(study: Path) -> None:
    for run, manifest in manifests(before_hashes(study)):
        config = json.loads(json.dumps(manifest["config"]))
        config["dataset"]["source"]["test_rows"] = 13
        (run.path / "manifest.json").write_text(json.dumps(manifest | {"config": config}))
    said = [doubt.said for doubt in attacked(records_of(study)).doubts if doubt.kind == "other_counts"]
    assert any("13 were asked, and 12 are there." in sentence for sentence in said)
