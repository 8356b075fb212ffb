"""A team's own algorithms, under names that say nothing: what a run is stands in its manifest, and a report goes by that alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from forking import ROOT, Forking

from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import checked_algorithm
from vlm_rl.commands.evaluation_target import find
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.table_3 import table3_table

pytestmark = pytest.mark.slow  # whole runs

CODE = '''
from dataclasses import dataclass

import torch

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.algorithms.grpo import GroupRelativePolicyOptimization
from vlm_rl.algorithms.sft import SupervisedFineTuning
from vlm_rl.masking import weighted_sum


@dataclass(frozen=True, kw_only=True)
class Distillation(Algorithm):
    """A teacher that derives from none of ours."""

    needs_reference = False

    @property
    def learns_from_own_responses(self):
        return False

    def advantages(self, trajectory):
        return torch.ones_like(trajectory.engine_logprobs) * trajectory.response_mask

    def loss(self, logprobs, batch):
        loss = weighted_sum(-logprobs * batch.advantages, batch.token_weights, batch.response_mask)
        return AlgorithmLoss(loss=loss, kl=None, ratio=None, clipped=None)


@dataclass(frozen=True, kw_only=True)
class SelfTraining(SupervisedFineTuning):
    """Imitates what it wrote itself: a policy, chosen by algorithm=sft."""

    @property
    def learns_from_own_responses(self):
        return True


@dataclass(frozen=True, kw_only=True)
class EndedOnly(GroupRelativePolicyOptimization):
    """Without a setting for it, and not of the family of REINFORCE++."""

    @property
    def rewards_only_ended_responses(self):
        return True
'''
DISTILL = """
defaults: [_self_, rollout_correction: none, override /rollout@_global_.rollout: solutions]
_target_: team_algorithms.Distillation
group_size: 1
num_minibatches: 2
ppo_epochs: 1
learning_rate_scale: 1.0
dynamic_sampling: null
"""
SMALL = (
    "experiment=smoke",
    "num_threads=1",
    "dataset.source.train_rows=8",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=4",
    "dataset.epochs=1",
    "dataset.max_new_tokens=12",
    "evaluation.scheme.splits=[val]",
    "reward=random",
    "rollout.temperature=4",
    "study=s",
    "hydra.searchpath=[file://conf]",
)
RUNS = {  # label in the report -> what is typed
    "distill": ("algorithm=distill",),
    "vanilla (VARIANT)": ("algorithm=vanilla", "algorithm.group_size=4"),
    "evaluated": ("algorithm=evaluated", "algorithm.group_size=2"),
    "sft": ("algorithm=sft", "algorithm._target_=team_algorithms.SelfTraining", "rollout=huggingface"),
}
ROLES = {"distill": "teacher", "vanilla": "policy", "evaluated": "policy", "sft": "policy"}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of code and configs beside a copy of train.py."""
    cwd = tmp_path_factory.mktemp("team")
    (cwd / "conf" / "algorithm").mkdir(parents=True)
    (cwd / "team_algorithms.py").write_text(CODE)
    (cwd / "conf" / "algorithm" / "distill.yaml").write_text(DISTILL)
    for name in ("vanilla", "evaluated"):
        (cwd / "conf" / "algorithm" / f"{name}.yaml").write_text("defaults: [grpo, _self_]\n")
    shutil.copy(ROOT / "train.py", cwd / "train.py")
    return cwd


@pytest.fixture(scope="module")
def study(forking: Forking, team: Path) -> Path:
    """One seed of each of the four."""
    for words in RUNS.values():
        done = forking.run(str(team / "train.py"), (*SMALL, *words), cwd=team)
        assert done.code == 0, done.out + done.err
    return team / "outputs" / "s"


@pytest.fixture(scope="module")
def records(study: Path) -> Records:
    """What a report of them reads."""
    return read_records(find_runs([study]), reflection=None)


def manifests(study: Path) -> dict[Path, dict[str, Any]]:
    return {file.parent: json.loads(file.read_text()) for file in sorted(study.glob("*/seed-0/manifest.json"))}


def runs_of(study: Path) -> dict[str, Path]:
    """The trained runs by the name of their algorithm."""
    return {
        manifest["algorithm"]: run for run, manifest in manifests(study).items() if not run.parent.name.startswith("vanilla-")
    }


def named(records: Records, algorithm: str) -> Arm:
    (arm,) = (arm for arm in records.trained if arm.runs[0].run.algorithm == algorithm)
    return arm


def test_the_manifest_says_what_each_is(study: Path) -> None:
    found = manifests(study)
    assert {name: found[run]["role"] for name, run in runs_of(study).items()} == ROLES
    (vanilla,) = (manifest for run, manifest in found.items() if run not in runs_of(study).values())
    assert (vanilla["algorithm"], vanilla["role"]) == ("vanilla", "vanilla")


def test_a_teacher_comes_after_those_that_learn_by_themselves_whatever_their_names(records: Records) -> None:
    assert [arm.runs[0].run.algorithm for arm in records.arms] == ["evaluated", "sft", "vanilla", "distill", "vanilla"]
    assert [arm.is_vanilla for arm in records.arms] == [False] * 4 + [True]
    assert not any(arm.is_evaluated_only for arm in records.arms)
    assert len(records.trained) == 4
    assert len({arm.label for arm in records.arms}) == 5


def test_table_3_has_the_teacher_in_the_place_of_sft(records: Records) -> None:
    means = [column.key for column in table3_table(records).columns if column.key.endswith("_mean")]
    assert means == [f"{label}_mean" for label in ("distill", "evaluated", "sft", named(records, "vanilla").label)]


def test_only_who_writes_responses_has_an_accuracy_in_training(study: Path, records: Records) -> None:
    for algorithm, role in ROLES.items():
        (run,) = named(records, algorithm).runs
        assert len(run.training.records) == 2
        assert {"train/accuracy" in line for line in run.training.records} == {role == "policy"}
        assert run.training.stored_steps == ((1, 2) if role == "policy" else ())
        assert (run.training.length_bins is None) == (role == "teacher")
    steps = list(map(json.loads, (runs_of(study)["distill"] / "metrics.jsonl").read_text().splitlines()))
    assert not any(key.startswith(("rollout/", "train/", "response_length/")) for line in steps for key in line)
    assert (runs_of(study)["distill"] / "alerts.jsonl").read_text() == ""  # no engine differs from what a teacher wrote


def test_what_is_evaluated_goes_by_the_role_too(study: Path, team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(team)
    for name in ("vanilla", "evaluated"):
        target = find(str(runs_of(study)[name]))
        assert target.weights is not None
        assert target.generation_steps == 2
    (vanilla,) = study.glob("vanilla-*/seed-0")
    assert find(str(vanilla), trusted=["team_algorithms"]).chosen == "vanilla"  # its manifest has the config of the first arm


def test_a_penalty_has_no_place_in_any_algorithm_that_says_so(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(team)
    words = ["experiment=smoke", "algorithm=grpo", "algorithm._target_=team_algorithms.EndedOnly"]
    checked_algorithm("train", composed(words))
    for term in ("truncation", "length"):
        with pytest.raises(ValueError, match=f"with EndedOnly those that were cut off.* Set reward.terms.{term}.weight=0."):
            checked_algorithm("train", composed([*words, f"+reward/term@reward.terms.{term}={term}"]))
        checked_algorithm(
            "train", composed([*words, f"+reward/term@reward.terms.{term}={term}", f"reward.terms.{term}.weight=0"])
        )
