"""`python study.py`: a plan from its first run to its end, killed at random on the way, and what is refused or stops it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forking import Forking
from tiny_commands import BRIEF, content

from vlm_rl.evaluation.sequential.decisions import FILE, Decision, read_steps
from vlm_rl.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
PART = "_target_: vlm_rl.evaluation.sequential.plan."
WORDS = ", ".join(f'"{word}"' for word in (*BRIEF, "evaluation.scheme.splits=[val,test]"))


def write_plan(folder: Path, *, budget: str = "hours_of_a_run: 0.01", looks: str = "[3, 4]", futility: str = "null") -> Path:
    """Two stages over the smallest runs, in a folder of a team."""
    file = folder / "confs" / "plan" / "tried.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    stages = "".join(
        f"  - {PART}Stage\n    name: {name}\n    words: [{WORDS}{more}]\n    arms: {arms}\n    looks: {looks}\n"
        f"    futility: {futility}\n{gate}"
        for name, arms, more, gate in (
            ("first", "[one]", "", "    gate: not_worse\n    margin: 0.99\n"),
            ("second", "passed", ', "dataset.source.train_rows=12"', ""),
        )
    )
    file.write_text(
        f"{PART}Plan\n_convert_: all\nquestion: Does it work?\nsmallest_effect: 0.02\narms:\n  one: [algorithm=reinforce_pp]\n"
        f"stages:\n{stages}budget:\n  {PART}Budget\n  {budget}\n",
        encoding="utf-8",
    )
    return file


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, str(ROOT / "study.py"), "--config-dir", str(folder / "confs"), "plan=tried", *words]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command(folder, *words), cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `python train.py` is what a person types."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "train.py").symlink_to(ROOT / "train.py")
    return folder


@pytest.mark.slow
def test_killed_on_the_way_it_ends_in_the_same_decisions_and_bytes(tmp_path: Path) -> None:
    """One study in one go, one that is killed with SIGKILL twice, at moments that nobody chose."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").symlink_to(ROOT / "train.py")
        write_plan(tmp_path / name)
    finished = run(tmp_path / "whole")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    moments = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    for _ in range(2):
        process = subprocess.Popen(
            command(tmp_path / "killed"),
            cwd=tmp_path / "killed",
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(6, 20))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2)  # its runs notice within half a second
    again = run(tmp_path / "killed")
    assert again.returncode == 0, again.stdout + again.stderr
    logs = [(tmp_path / name / "outputs" / "tried" / FILE).read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    steps = read_steps(tmp_path / "whole" / "outputs" / "tried")
    assert [step.stage for step in steps][:2] == ["first", "first"] or steps[0].decision is Decision.NEXT_STAGE
    runs = [sorted((tmp_path / name / "outputs").glob("tried-*/one/seed-*")) for name in ("whole", "killed")]
    assert [path.relative_to(tmp_path / "whole") for path in runs[0]] == [
        path.relative_to(tmp_path / "killed") for path in runs[1]
    ]
    for whole, killed in zip(*runs, strict=True):
        assert content(RunFolder(path=whole)) == content(RunFolder(path=killed))
    page = (tmp_path / "killed" / "outputs" / "tried" / "study.html").read_text(encoding="utf-8")
    assert "Does it work?" in page
    assert json.loads((tmp_path / "killed" / "outputs" / "tried" / "study.json").read_text())["plan_was_changed"] is False

    # A report does not judge a stage beside its plan.
    report = subprocess.run(
        [sys.executable, str(ROOT / "report.py"), "studies=[outputs/tried-first]"],
        cwd=tmp_path / "whole",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stdout + report.stderr
    judged = json.loads((tmp_path / "whole" / "outputs" / "tried-first" / "report.json").read_text())
    assert "which its plan judges" in json.dumps(judged["decision"])
    assert any("[staged]" in problem for problem in judged["problems"])

    # The plan is changed now: what it says then is shown, and claims nothing.
    write_plan(tmp_path / "whole", looks="[3, 4, 5]", budget="tokens: 10")
    changed = run(tmp_path / "whole", "language=ja")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    told = json.loads((tmp_path / "whole" / "outputs" / "tried" / "study.json").read_text())
    assert told["plan_was_changed"] is True
    assert told["headline"].startswith("The plan was changed after the first look")


@pytest.mark.slow
def test_a_budget_stops_before_the_first_lot_and_nothing_was_trained(project: Path) -> None:
    write_plan(
        project, budget="{device_hours: 0.02, hours_of_a_run: 0.01}".replace("{", "").replace("}", "").replace(", ", "\n  ")
    )
    finished = run(project, "study=poor")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "device hours would pass its limit" in finished.stdout
    (step,) = read_steps(project / "outputs" / "poor")
    assert (step.decision, step.limit, step.seeds) == (Decision.BUDGET, "device_hours", 3)
    assert not (project / "outputs" / "poor-first").exists()


@pytest.mark.slow
def test_a_seed_that_fails_is_told_and_taken_again(project: Path) -> None:
    file = write_plan(project)
    file.write_text(file.read_text().replace("algorithm=reinforce_pp", "algorithm=reinforce_pp, dataset.batch_size=3"))
    finished = run(project, "study=broken")
    assert finished.returncode == 2
    assert "They are taken again." in finished.stdout
    assert "seeds 0, 1, 2 did not finish in 2 attempts" in finished.stderr
    assert not (project / "outputs" / "broken" / FILE).exists(), "a look without its seeds is no look"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("looks: [3, 4]", "looks: [2, 4]", "each look needs more seeds than the one before, and the first at least 3"),
        ("arms: [one]", "arms: [two]", "stage first: no arm two. plan.arms has one."),
        ("arms: [one]", "arms: passed", "takes those of the stage before, and this is the first"),
        ("margin: 0.99", "margin: 0", "gate=not_worse needs the loss that would not matter"),
        ("hours_of_a_run: 0.01", "money: 3", "plan.budget.money needs a price"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused_before_anything_runs(
    forking: Forking, tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = write_plan(tmp_path)
    file.write_text(file.read_text().replace(old, new, 1))
    finished = forking.run("study.py", ["--config-dir", str(tmp_path / "confs"), "plan=tried"], cwd=tmp_path)
    assert finished.code == 2
    assert said in finished.err.replace("\n", " ")
    assert not list((tmp_path / "outputs").glob("*"))


def test_a_log_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    from vlm_rl.evaluation.sequential.decisions import Step, add_step

    for place in (0, 1):
        add_step(
            tmp_path, Step(stage="a", place=place, seeds=3 + place, decision=Decision.GO_ON, looks={}, at_stop={}, plan="p")
        )
    assert [step.place for step in read_steps(tmp_path)] == [0, 1]
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace("more seeds", "success", 1))
    with pytest.raises(ValueError, match=r"line 2 is not as it was written"):
        read_steps(tmp_path)
