"""A folder like examples/team_overlay, away from the checkout: a team's data, reward, key figure, model and configs without a fork."""

import json
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import ROOT, Finished, Forking
from hydra.utils import instantiate
from refusing import refusal
from tiny_commands import only_run

from vlm_rl.commands.resolvers import variant
from vlm_rl.rewards.boxed import last_boxed
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow  # whole runs

EXAMPLE = ROOT / "examples" / "team_overlay"
TRUST = "trust=[team_overlay]"  # the code of a stored run is trusted by name, each time
OURS = "hydra.searchpath=[file://team_overlay/conf]"
SMALL = (
    "experiment=gauges",
    "num_threads=1",
    "dataset.source.train_rows=16",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=4",
    "dataset.batch_size=8",
    "dataset.ppo_batch_size=8",
    "dataset.epochs=1",
    "dataset.max_new_tokens=48",
    "reward.terms.closeness.term.reach=100",  # far, so that the tiny model, which cannot read gauges, gets something
    "study=gauges",
)


def typed(forking: Forking, cwd: Path, script: str, *words: str) -> Finished:
    """The team's own copy of a script, which finds the package beside it."""
    return forking.run(str(cwd / script), words, cwd=cwd)


def went_well(finished: Finished) -> Finished:
    """The same, if it did."""
    assert finished.code == 0, finished.out + finished.err
    return finished


@pytest.fixture(scope="module")
def team(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's folder, after two steps of training."""
    cwd = tmp_path_factory.mktemp("team")
    shutil.copytree(EXAMPLE / "team_overlay", cwd / "team_overlay", ignore=shutil.ignore_patterns("__pycache__"))
    for script in ("train.py", "evaluate.py", "report.py", "export.py"):
        shutil.copy(ROOT / script, cwd / script)
    went_well(typed(forking, cwd, "train.py", OURS, *SMALL))
    return cwd


@pytest.fixture(scope="module")
def run(team: Path) -> RunFolder:
    """What was trained."""
    return only_run(team, study="gauges")


def test_a_run_is_made_of_the_teams_own_data_reward_and_model(run: RunFolder) -> None:
    assert run.manifest is not None
    assert run.manifest["status"] == "finished"
    assert run.manifest["searchpath"] == ["file://../../../../team_overlay/conf"]
    assert run.manifest["config"]["dataset"]["source"]["_target_"] == "team_overlay.dataset.GaugeSource"
    settings = json.loads(next(run.path.glob("checkpoints/*/adapter_config.json")).read_text())
    assert (settings["r"], settings["lora_alpha"]) == (4, 8)
    steps = [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    assert len(steps) == 2
    for step, line in enumerate(steps, start=1):
        rows = pq.read_table(run.path / "completions" / f"step-{step:06d}.parquet").to_pylist()
        close = [closeness(row["response"], row["answer"]) for row in rows]
        assert any(close)
        assert line["train/reward_closeness"] == pytest.approx(sum(close) / len(close), abs=1e-6)


def closeness(response: str, answer: str) -> float:
    """1 - |x - gold| / 100 where the box holds a number, at least 0: by hand, not by the overlay."""
    box = last_boxed(response) or ""
    return max(0.0, 1 - abs(float(box) - float(answer)) / 100) if box.lstrip("-").replace(".", "", 1).isdigit() else 0.0


def test_a_team_that_moves_takes_its_configs_with_it_and_is_asked_where_they_are_if_not(
    forking: Forking, team: Path, run: RunFolder, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    shutil.copytree(team, new)
    words = (f"checkpoint={run.path.relative_to(team)}", TRUST, "evaluation.scheme.splits=[val]", "dataset.evaluation_rows=1")
    refused = typed(forking, new, "evaluate.py", *(word for word in words if word != TRUST))
    assert (refused.code, TRUST in refused.err, "Traceback" in refused.err) == (2, True, False)
    went_well(typed(forking, new, "evaluate.py", *words))
    (new / "team_overlay" / "conf").rename(tmp_path / "conf")
    lost = typed(forking, new, "evaluate.py", *words)
    assert lost.code == 2
    assert f"there is no folder {new}/team_overlay/conf" in lost.err
    assert "Traceback" not in lost.err
    went_well(typed(forking, new, "evaluate.py", *words, f"hydra.searchpath=[file://{tmp_path}/conf]"))  # finds all answered


def test_a_report_shows_the_teams_key_figure_and_the_command_that_makes_it_again(
    forking: Forking, team: Path, run: RunFolder
) -> None:
    kpi = ("evaluation/kpi=[within_tolerance]", "evaluation.kpi.within_tolerance.tolerance=40")
    went_well(typed(forking, team, "report.py", "studies=[outputs/gauges]", OURS, *kpi))
    report = json.loads((team / "outputs" / "gauges" / "report.json").read_text())
    assert f"file://{team}/team_overlay/conf" in report["command"]
    (row,) = (row for row in report["tables"]["kpi"] if "within tolerance" in row["kpi"])
    samples = pq.read_table(run.path / "evaluations" / "epoch-0001" / "test_pass@1_t0.6.parquet").to_pylist()
    within = [closeness(sample["response"], sample["answer"]) > 1 - 40.5 / 100 for sample in samples]  # whole numbers
    assert any(within)
    assert row["picked"] == pytest.approx(sum(within) / len(within))


@pytest.mark.parametrize("page", [EXAMPLE / "README.md", ROOT / "docs" / "sharing.md"], ids=lambda page: page.name)
def test_the_documents_name_the_folder_that_their_own_training_makes(page: Path) -> None:
    lines = [shlex.split(line, comments=True) for line in page.read_text().splitlines() if line.startswith("vlm-rl-")]
    (trained,) = (words for command, *words in lines if command == "vlm-rl-train")
    (study,) = (word.removeprefix("study=") for word in trained if word.startswith("study="))
    named = [word.removeprefix("checkpoint=") for words in lines for word in words if word.startswith("checkpoint=")]
    assert named
    assert set(named) == {f"outputs/{study}/{variant(trained)}/seed-0"}


def test_a_mistake_with_an_overlay_is_named(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(team)
    monkeypatch.syspath_prepend(team)
    for words, message in (
        (("reward=gauges", "reward.terms.closeness.wieght=2"), "Did you mean reward.terms.closeness.weight"),
        (("dataset=gauges", "dataset.source._target_=team_overlay.data.Gauges"), "team_overlay.data.Gauges', the _target_ of"),
    ):
        assert message in refusal([OURS, *words], monkeypatch, begin=lambda cfg: instantiate(cfg.dataset))
