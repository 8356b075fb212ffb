"""The workspace as it would be saved, looked at without a network."""

from typing import Any

import pytest
from fake_runs import SETTINGS, write_study

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import ReportError, find_runs
from vlm_rl.reports.wandb_workspace import build_workspace, save_workspace, split_path

pytestmark = pytest.mark.slow  # importing the library takes seconds


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What would be sent for two studies, whose arms have other configs: the library's own model of the view."""
    studies = [write_study(tmp_path_factory.mktemp("outputs") / name, seeds=(0,), epochs=1, questions=2) for name in ("a", "b")]
    for manifest in studies[1].glob("*/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace("a" * 16, "c" * 16))
    workspace = build_workspace(read_records(find_runs(studies), reflection=None), path="team/project")
    return workspace._to_model().model_dump(by_alias=True)["spec"]["section"]


def test_every_accuracy_is_drawn_by_epoch_and_the_rest_by_generation_step(sent: dict[str, Any]) -> None:
    sections = {section["name"]: section["panels"] for section in sent["panelBankConfig"]["sections"]}
    assert list(sections) == ["Accuracy", "Dynamics", "Behaviour", "Cost", "Completions"]
    tables = str(sections.pop("Completions"))
    assert "completions/train" in tables and "completions/val" in tables
    axes = {name: {one["config"]["metrics"][0]: one["config"]["xAxis"] for one in panels} for name, panels in sections.items()}
    expected = {f"{split}/{setting}/accuracy" for split in ("val", "test") for setting in SETTINGS}
    assert axes["Accuracy"] == dict.fromkeys([*expected, "train/accuracy_in_epoch"], "epoch")
    assert {"policy/kl", "policy/entropy", "train/reward"} <= set(axes["Dynamics"])
    assert {"response_length/mean", "reflection/reflection_ratio", "language/foreign_share"} <= set(axes["Behaviour"])
    assert {"tokens/response", "time/step2_response_collection", "memory/peak_bytes"} <= set(axes["Cost"])
    assert {axis for name in ("Dynamics", "Behaviour", "Cost") for axis in axes[name].values()} == {"generation_steps"}


def test_runs_are_those_of_the_studies_grouped_by_study_and_variant(sent: dict[str, Any]) -> None:
    (runs,) = sent["runSets"]
    (condition,) = runs["filters"]["filters"]
    assert [key["name"] for key in runs["grouping"]] == ["study.value", "variant.value"]
    assert (condition["key"]["name"], condition["op"], condition["value"]) == ("study", "IN", ["a", "b"])


def test_a_workspace_is_not_saved_offline_and_the_message_says_how_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ReportError, match=r"team/project was not saved: W&B is offline here\. Log in"):
        save_workspace(Records(arms=(), problems=()), path="team/project")


@pytest.mark.parametrize("path", ["", "team", "team/", "/project", "a/b/c"])
def test_a_path_that_is_none_is_an_error(path: str) -> None:
    with pytest.raises(ReportError, match="is no ENTITY/PROJECT"):
        split_path(path)
