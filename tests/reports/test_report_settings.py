"""The command: what it takes, and what it refuses before it reads anything."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from fake_runs import write_study
from omegaconf import OmegaConf

from vlm_rl.commands.build import composed
from vlm_rl.commands.errors import TYPED
from vlm_rl.commands.report import kpis_of, main, run, settings_of
from vlm_rl.reports.report import SUFFIXES

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
        ("language=de", ": a report speaks en or ja"),
        ("smallest_effect=1.0", " must lie between 0 and 1: it is a share, 0.02 is 2 points"),
        ("smallest_effect=0.0", " must lie between 0 and 1"),
        ("price_per_device_hour=-1.0", " must not be negative"),
    ],
)
def test_a_choice_that_makes_no_report_is_refused_in_words(override: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"report.{override}{why}")):
        settings_of(composed(["studies=[.]", f"report.{override}"], config_name="report"), command="")


@pytest.mark.slow
def test_the_command_writes_page_numbers_and_files_and_nothing_else_and_no_file_of_an_earlier_report_stays(
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path / "outputs" / "a", seeds=(0, 1), epochs=1, questions=4)
    (study / "report_files").mkdir()
    for name in ("mine.txt", *(f"old{kind}" for kind in SUFFIXES)):
        (study / "report_files" / name).write_text("of another report")
    before = {path.name for path in study.iterdir()}
    words = ["studies=[outputs/a]", "evaluation.reflection.words=[hmm]", "report.judge=current"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(REPOSITORY / "report.py"), *words]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "report: outputs/a/report.html\n"), done.stderr
    assert [path.name for folder in (tmp_path, tmp_path / "outputs") for path in folder.iterdir()] == ["outputs", "a"]
    assert {path.name for path in study.iterdir()} == before | {"report.html", "report.json"}
    page, numbers = (study / "report.html").read_text(), json.loads((study / "report.json").read_text())
    assert "python report.py &#39;studies=[outputs/a]&#39; &#39;evaluation.reflection.words=[hmm]&#39;" in page
    assert list(numbers["tables"])[:2] == ["accuracy", "table_3"] and numbers["tables"]["judged_again"]
    names = {file.name for file in (study / "report_files").iterdir()}
    pictures = {f"{name}{kind}" for name in ("figure_5_accuracy", "verdicts_forest") for kind in (".png", ".pdf")}
    assert {"mine.txt", *(f"accuracy{kind}" for kind in (".csv", ".md", ".tex")), *pictures} <= names
    assert {Path(name).suffix for name in names} == {".txt", *SUFFIXES} and not any(name.startswith("old") for name in names)


def test_a_mistake_is_answered_in_words_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", "studies=[outputs/a]", "report.outt=b"])
    monkeypatch.setattr(hydra.core.utils, "JobReturn", hydra.core.utils.JobReturn)  # what `main` changes for its process
    for name in ("HYDRA_FULL_ERROR", TYPED):
        monkeypatch.setenv(name, "1")
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capfd.readouterr().err
    assert (stopped.value.code, "no config key 'report.outt'" in said, "Traceback" in said) == (2, True, False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["studies=[outputs/b]"], "Nearest in outputs: a."),
        ([], "studies is missing"),
        (["studies=[outputs/a]", "report.judge=mine"], "report.judge=mine, but it takes stored or current."),
    ],
)
def test_a_mistake_is_named_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(composed(overrides, config_name="report"), command="")
