import html.parser
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_evaluation, write_manifest, write_study

from vlm_rl.reports.report import make_report
from vlm_rl.reports.runs import ReportError

REPOSITORY = Path(__file__).parents[2]
SETTING = "pass@1_t0.6"
HOSTILE = (
    '</pre></dl><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202e\u0000 $\\frac{1}{2}$ {{ 7 * 7 }}'
)


class Tags(html.parser.HTMLParser):
    """Collects every tag and every attribute that could fetch or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [
            f"{name}={value}" for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        self.loaded += [name for name, _ in attrs if name.startswith("on")]


def report_on(*studies: Path, out: Path | None = None) -> Path:
    return make_report(studies, out=out, setting=SETTING, reflection=None, command="python report.py 'studies=[<here>]'")


def test_a_study_becomes_one_page_its_numbers_and_its_files(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=2)
    path = report_on(study)
    assert path == study / "report.html"
    page, numbers = path.read_text(), json.loads((study / "report.json").read_text())
    assert list(numbers["tables"]) == ["gain", "accuracy", "accuracy_by_kind", "gain_split", "verdicts", "cost", "runs"]
    assert len(numbers["figures"]["figure_5_accuracy"]) == 6
    assert numbers["summary"][0] in page.replace("\u00a0", " ")
    assert "python report.py &#39;studies=[&lt;here&gt;]&#39;" in page
    assert "improvement" not in page.lower()
    names = {file.name for file in (study / "report_files").iterdir()}
    assert {"accuracy.csv", "figure_4_training_dynamics.png", "figure_5_accuracy.pdf"} <= names


def test_the_page_needs_no_network_and_runs_nothing(tmp_path: Path) -> None:
    tags = Tags(report_on(write_study(tmp_path / "study", epochs=1)).read_text())
    assert tags.tags.isdisjoint({"script", "link", "iframe", "img"})
    assert tags.loaded == []


def test_what_a_model_writes_is_never_markup(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=4)
    hostile = {"response": HOSTILE, "question": HOSTILE, "answer": HOSTILE, "kind": "<b>kind</b>"}
    run = study / "default" / "seed-0"
    write_evaluation(run, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: q > 1, questions=4, **hostile)
    page = report_on(study).read_text()
    tags = Tags(page)
    assert tags.tags.isdisjoint({"script", "img", "b"})
    assert tags.loaded == []
    assert "&lt;script&gt;document.title=" in page
    assert "{{ 7 * 7 }}" in page


def test_a_response_of_a_megabyte_is_cut_on_the_page_only(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=4)
    write_evaluation(
        study / "default" / "seed-0",
        epoch=1,
        split="val",
        setting=SETTING,
        outcome=lambda q, s: True,
        questions=1,
        response="x" * 2**20,
    )
    page = report_on(study).read_text()
    assert "x" * 2000 in page
    assert "x" * 2001 not in page
    assert "… and 1046576 more characters." in page


def test_an_unfinished_run_with_a_half_written_line_breaks_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=2)
    run = study / "default" / "seed-2"
    write_manifest(run, algorithm="reinforce_pp", seed=2, arm="a" * 16, vanilla="vanilla-1a2b3c4d", status="running")
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"event": "train", "generation_st')
    page = report_on(study).read_text()
    assert "unfinished runs are seed 2, left out of means and tables" in page
    assert "reinforce_pp, n = 2 seeds" in page


@pytest.mark.parametrize("changes", [{"seeds": (0,)}, {"with_vanilla": False}, {"epochs": 0}])
def test_one_seed_no_vanilla_or_no_epoch_yet_still_make_a_report(tmp_path: Path, changes: dict[str, Any]) -> None:
    page = report_on(write_study(tmp_path / "study", **({"epochs": 1, "questions": 6} | changes))).read_text()
    assert "nan" not in Tags(page).tags
    assert ">nan<" not in page


def test_the_untrained_model_alone_makes_a_report(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    page = report_on(study / "vanilla-1a2b3c4d", out=tmp_path / "elsewhere").read_text()
    assert "vanilla: accuracy on val" in page


def test_the_same_records_give_the_same_report(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    first, second = (report_on(study, out=tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_setting_that_no_run_was_evaluated_under_is_refused_with_those_that_were(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=2)
    with pytest.raises(ReportError, match=r"report.setting=pass@4_t1.0, .*pass@8_t1.0, pass@1_t0.6, pass@1_t0.01"):
        make_report([study], out=None, setting="pass@4_t1.0", reflection=None, command="")


def run_command(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(REPOSITORY / "report.py"), *overrides]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(script, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_command_writes_the_report_and_nothing_else(tmp_path: Path) -> None:
    write_study(tmp_path / "outputs" / "a", seeds=(0,), epochs=1, questions=4)
    done = run_command("studies=[outputs/a]", "evaluation.reflection.words=[hmm]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "report: outputs/a/report.html\n"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["a"]
    page = (tmp_path / "outputs" / "a" / "report.html").read_text()
    assert "python report.py &#39;studies=[outputs/a]&#39; &#39;evaluation.reflection.words=[hmm]&#39;" in page


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["studies=[outputs/b]"], "Nearest in outputs: a."),
        ([], "studies is missing"),
        (["studies=[outputs/a]", "report.outt=b"], "no config key 'report.outt'"),
    ],
)
def test_a_mistake_is_answered_in_words_with_exit_code_2(tmp_path: Path, overrides: list[str], message: str) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    done = run_command(*overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
