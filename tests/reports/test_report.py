import base64
import hashlib
import html
import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_evaluation, write_manifest, write_study
from usual import usual_settings

from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.report import make_report

REPOSITORY = Path(__file__).parents[2]
SETTING = "pass@1_t0.6"
HOSTILE = (
    '</pre></dl><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202e\u0000 $\\frac{1}{2}$ {{ 7 * 7 }}'
)


class Tags(html.parser.HTMLParser):
    """Collects every tag, every attribute that could fetch or run something, and what stands in script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []  # type, text
        self.policy = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])
        if tag == "script":
            self.scripts.append((found.get("type"), ""))
        self.loaded += [
            f"{name}={value}" for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        self.loaded += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)


def report_on(*studies: Path, out: Path | None = None, **changes: Any) -> Path:
    return make_report(studies, out=out, settings=usual_settings(**changes))


def test_a_study_becomes_one_page_its_numbers_and_its_files(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=2)
    path = report_on(study)
    assert path == study / "report.html"
    page, numbers = path.read_text(), json.loads((study / "report.json").read_text())
    assert list(numbers["tables"])[:2] == ["accuracy", "table_3"]
    assert len(numbers["figures"]["figure_5_accuracy"]) == 6
    assert numbers["decision"]["headline"] in page.replace("\u00a0", " ")  # 38.5 % is never torn apart
    assert "python report.py &#39;studies=[&lt;here&gt;]&#39;" in page
    names = {file.name for file in (study / "report_files").iterdir()}
    assert {f"accuracy.{kind}" for kind in ("csv", "md", "tex")} <= names
    assert {"figure_5_accuracy.png", "figure_5_accuracy.pdf", "verdicts_forest.png", "verdicts_forest.pdf"} <= names
    assert {file.suffix for file in (study / "report_files").iterdir()} == {".csv", ".md", ".tex", ".png", ".pdf"}


def test_a_wide_table_is_printed_across_with_its_heading_and_keeps_its_first_column_when_scrolled(tmp_path: Path) -> None:
    page = report_on(write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=2)).read_text()
    heading = page.index('<h3 id="accuracy">')
    assert page[:heading].rstrip().endswith('<div class="table many">')  # 12 columns
    assert page[: page.index('<h3 id="gain">')].rstrip().endswith('<div class="table">')
    assert "@page wide { size: A4 landscape; }" in page
    assert ".many { page: wide; }" in page
    assert "td:first-child { position: sticky;" in page


def test_a_second_report_leaves_no_file_of_the_first(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=2)
    files = study / "report_files"
    files.mkdir()
    for name in ("old_table.csv", "old_table.md", "old_table.tex", "old_figure.png", "old_figure.pdf", "mine.txt"):
        (files / name).write_text("of another report")
    report_on(study)
    names = {file.name for file in files.iterdir()}
    assert {name for name in names if name.startswith("old_")} == set()
    assert {"accuracy.csv", "figure_5_accuracy.png", "verdicts_forest.pdf", "mine.txt"} <= names


def test_the_page_needs_no_network_and_runs_one_script_which_is_ours(tmp_path: Path) -> None:
    tags = Tags(report_on(write_study(tmp_path / "study", epochs=1)).read_text())
    assert tags.tags.isdisjoint({"link", "iframe", "img", "object", "embed", "form", "base"})
    assert tags.loaded == []
    (kind, data), (own_kind, own) = tags.scripts
    assert (kind, own_kind) == ("application/json", None)
    assert json.loads(data)["cases"]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}';" in tags.policy


def test_the_script_never_writes_markup() -> None:
    script = (REPOSITORY / "vlm_rl" / "reports" / "page" / "reader.js").read_text()
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function|fetch|import", script)


def test_what_a_model_writes_is_never_markup(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=4)
    hostile = {"response": HOSTILE, "question": HOSTILE, "answer": HOSTILE, "kind": "<b>kind</b>"}
    run = study / "default" / "seed-0"
    for split in ("val", "test"):
        write_evaluation(run, epoch=1, split=split, setting=SETTING, outcome=lambda q, s: q > 1, questions=4, **hostile)
    page = report_on(study).read_text()
    tags = Tags(page)
    assert tags.tags.isdisjoint({"img", "b"})
    assert len(tags.scripts) == 2
    assert tags.loaded == []
    assert "&lt;script&gt;document.title=" in page
    assert "{{ 7 * 7 }}" in page
    assert "\u0000" not in page
    for file in (study / "report_files").glob("*.tex"):
        assert "<b>" not in file.read_text()


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
    assert "… and 1046576 more characters." in page.replace("\\u2026", "…")
    assert len(page) < 2**20


def test_an_unfinished_run_with_a_half_written_line_breaks_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=2)
    run = study / "default" / "seed-2"
    write_manifest(run, algorithm="reinforce_pp", seed=2, arm="a" * 16, vanilla="vanilla-1a2b3c4d", status="running")
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"event": "train", "generation_st')
    page = report_on(study).read_text()
    assert "unfinished runs are left out of every mean and verdict: seed 2." in page
    assert "reinforce_pp, n = 2 seeds" in page.replace("\u00a0", " ")


@pytest.mark.parametrize("changes", [{"seeds": (0,)}, {"with_vanilla": False}, {"epochs": 0}])
def test_one_seed_no_vanilla_or_no_epoch_yet_still_make_a_report(tmp_path: Path, changes: dict[str, Any]) -> None:
    page = report_on(write_study(tmp_path / "study", **({"epochs": 1, "questions": 6} | changes))).read_text()
    visible = page[: page.index('<script type="application/json"')] if "application/json" in page else page
    assert not re.search(r"(?<![\w-])nan(?![\w-])", visible)
    assert "improved accuracy" not in visible
    assert "not judged" in visible


def test_the_untrained_model_alone_makes_a_report(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    page = report_on(study / "vanilla-1a2b3c4d", out=tmp_path / "elsewhere").read_text()
    assert "No verdict: no trained run was evaluated beside its untrained model." in page
    assert "Nothing was trained here." in page


def test_the_same_records_give_the_same_report(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    first, second = (report_on(study, out=tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_setting_that_no_run_was_evaluated_under_is_refused_with_those_that_were(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=1, questions=2)
    with pytest.raises(ReportError, match=r"report.setting=pass@4_t0.9, .*pass@8_t1.0, pass@1_t0.6, pass@1_t0.01"):
        report_on(study, setting="pass@4_t0.9")
    with pytest.raises(ReportError, match=r"report.split=dev, .*val, test"):
        report_on(study, split="dev")
    with pytest.raises(ReportError, match=r"report.split=val also picks the epochs, .*Pass another split"):
        report_on(study, split="val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "de"}, "report.language=de: a report speaks en or ja"),
        ({"smallest_effect": 2.0}, "report.smallest_effect=2.0 must lie between 0 and 1: it is a share, 0.02 is 2 points"),
        ({"price_per_device_hour": -1.0}, "report.price_per_device_hour=-1.0 must not be negative"),
    ],
)
def test_a_choice_that_makes_no_report_is_refused_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        usual_settings(**changes)


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
        (["studies=[outputs/a]", "report.judge=mine"], "report.judge=mine: pass stored or current."),
    ],
)
def test_a_mistake_is_answered_in_words_with_exit_code_2(tmp_path: Path, overrides: list[str], message: str) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    done = run_command(*overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_studies_that_cannot_be_compared_are_refused_on_the_first_page_and_listed(tmp_path: Path) -> None:
    """One arm judged by another judge, one run with a broken manifest, one evaluation that is no Parquet file."""
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    for seed in range(3):
        run = study / "default" / f"seed-{seed}"
        rows = {"questions": 6, "judge_version": "judge-2"}
        write_evaluation(run, epoch=1, split="test", setting=SETTING, outcome=lambda q, s: True, **rows)
    (study / "algorithm-sft" / "seed-2" / "manifest.json").write_text('{"study": ')
    (study / "algorithm-sft" / "seed-1" / "evaluations" / "epoch-0001" / f"val_{SETTING}.parquet").write_bytes(b"PAR1")
    page = html.unescape(report_on(study).read_text())
    assert "reinforce_pp: not judged." in page
    assert "the answers were judged by different versions of the judge (judge-1, judge-2)" in page
    assert "algorithm-sft/seed-2/manifest.json could not be read and its run is left out" in page
    assert f"val_{SETTING}.parquet cannot be read" in page
    assert "things were missing or odd; they are listed under" in page
