"""The command: what it takes, and what it refuses before it reads anything."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_study
from omegaconf import OmegaConf

from vlm_rl.commands.build import composed
from vlm_rl.commands.report import kpis_of, run, settings_of

REPOSITORY = Path(__file__).parents[2]
UNCHECKED = {"_target_": "vlm_rl.evaluation.kpi.UncheckedShare", "confidence": 0.9, "threshold": None}


class Nameless:
    unit, higher_is_better, __call__ = "none", True, len


MINE = {"unchecked": UNCHECKED, "mine": {"_target_": f"{__name__}.Nameless"}}
TWINS = {"strict": UNCHECKED | {"threshold": 1.0}, "loose": UNCHECKED | {"threshold": 0.5}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MINE, r"evaluation\.kpi\.mine: .*Nameless is no key figure: it lacks name\. docs/kpi\.md"),
        ({"typo": {"confidence": 0.9}}, r"evaluation\.kpi\.typo: no _target_ is no key figure"),
        (TWINS, r"evaluation\.kpi\.loose and evaluation\.kpi\.strict are both named 'answers that need no check'"),
    ],
)
def test_what_is_no_key_figure_or_shares_its_name_is_named_with_its_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kpis_of(OmegaConf.create(config))


def test_two_of_one_class_are_told_apart_by_name() -> None:
    config = OmegaConf.create({"loose": UNCHECKED, "strict": {**UNCHECKED, "name": "strict"}})
    assert [kpi.name for kpi in kpis_of(config)] == ["answers that need no check", "strict"]


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("price_per_device_hour=abc", " is not a number. Pass one"),
        ("smallest_effect=abc", " is not a number. Pass one"),
        ("bottleneck_gain=abc", " is not a number. Pass one"),
        ("language=de", ": a report speaks en or ja"),
        ("smallest_effect=1.0", " must lie between 0 and 1: it is a share, 0.02 is 2 points"),
        ("smallest_effect=0.0", " must lie between 0 and 1"),
        ("price_per_device_hour=-1.0", " must not be negative"),
    ],
)
def test_a_choice_that_makes_no_report_is_refused_in_words(override: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"report.{override}{why}")):
        settings_of(composed(["studies=[.]", f"report.{override}"], config_name="report"), command="")


def run_command(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(REPOSITORY / "report.py"), *overrides]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(script, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_writes_the_report_and_nothing_else(tmp_path: Path) -> None:
    write_study(tmp_path / "outputs" / "a", seeds=(0,), epochs=1, questions=4)
    done = run_command("studies=[outputs/a]", "evaluation.reflection.words=[hmm]", "report.judge=current", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "report: outputs/a/report.html\n"), done.stderr
    assert [path.name for folder in (tmp_path, tmp_path / "outputs") for path in folder.iterdir()] == ["outputs", "a"]
    page = (tmp_path / "outputs" / "a" / "report.html").read_text()
    assert "python report.py &#39;studies=[outputs/a]&#39; &#39;evaluation.reflection.words=[hmm]&#39;" in page
    assert json.loads((tmp_path / "outputs" / "a" / "report.json").read_text())["tables"]["judged_again"]


@pytest.mark.slow
def test_a_mistake_is_answered_in_words_with_exit_code_2(tmp_path: Path) -> None:
    done = run_command("studies=[outputs/a]", "report.outt=b", cwd=tmp_path)
    assert (done.returncode, "no config key 'report.outt'" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["studies=[outputs/b]"], "Nearest in outputs: a."),
        ([], "studies is missing"),
        (["studies=[outputs/a]", "report.judge=mine"], "report.judge=mine: pass stored or current."),
    ],
)
def test_a_mistake_is_named_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(composed(overrides, config_name="report"), command="")
