"""The workspace as it would be saved, looked at without a network."""

from typing import Any

import pytest
from fake_runs import write_study

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import ReportError, find_runs
from vlm_rl.reports.wandb_workspace import build_workspace, save_workspace, split_path


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Two studies, whose arms have other configs."""
    studies = [write_study(tmp_path_factory.mktemp("outputs") / name, seeds=(0,), epochs=1, questions=2) for name in ("a", "b")]
    for manifest in studies[1].glob("*/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace("a" * 16, "c" * 16))
    return read_records(find_runs(studies), reflection=None)


def view(records: Records) -> dict[str, Any]:
    """What would be sent: the library's own model of the view."""
    model: dict[str, Any] = build_workspace(records, path="team/project")._to_model().model_dump(by_alias=True)
    return model


def plots(section: dict[str, Any]) -> dict[str, str]:
    """Metric -> x-axis of the line plots of a section."""
    configs = [panel["config"] for panel in section["panels"]]
    return {config["metrics"][0]: config["xAxis"] for config in configs if config.get("metrics")}


def test_every_accuracy_is_drawn_by_epoch_and_the_rest_by_generation_step(records: Records) -> None:
    sections = {section["name"]: plots(section) for section in view(records)["spec"]["section"]["panelBankConfig"]["sections"]}
    assert list(sections) == ["Accuracy", "Dynamics", "Behaviour", "Cost", "Completions"]
    settings = ("pass@8_t1.0", "pass@1_t0.6", "pass@1_t0.01")
    expected = {f"{split}/{setting}/accuracy" for split in ("val", "test") for setting in settings}
    assert set(sections["Accuracy"]) == expected | {"train/accuracy_in_epoch"}
    assert set(sections["Accuracy"].values()) == {"epoch"}
    assert {"policy/kl", "policy/entropy", "train/reward"} <= set(sections["Dynamics"])
    assert {"response_length/mean", "reflection/reflection_ratio", "language/foreign_share"} <= set(sections["Behaviour"])
    assert {"tokens/response", "time/step2_response_collection", "memory/peak_bytes"} <= set(sections["Cost"])
    assert {axis for name in ("Dynamics", "Behaviour", "Cost") for axis in sections[name].values()} == {"generation_steps"}


def test_runs_are_those_of_the_studies_grouped_by_study_and_variant(records: Records) -> None:
    (runs,) = view(records)["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["study.value", "variant.value"]
    (condition,) = runs["filters"]["filters"]
    assert (condition["key"]["name"], condition["op"], condition["value"]) == ("study", "IN", ["a", "b"])


def test_completions_are_shown_as_tables(records: Records) -> None:
    sections = view(records)["spec"]["section"]["panelBankConfig"]["sections"]
    text = str(sections[-1])
    assert "completions/train" in text
    assert "completions/val" in text


def test_a_workspace_is_not_saved_offline_and_the_message_says_how_it_would_be(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ReportError, match=r"team/project was not saved: W&B is offline here\. Log in"):
        save_workspace(records, path="team/project")


@pytest.mark.parametrize("path", ["", "team", "team/", "/project", "a/b/c"])
def test_a_path_that_is_none_is_an_error(path: str) -> None:
    with pytest.raises(ReportError, match="is no ENTITY/PROJECT"):
        split_path(path)
