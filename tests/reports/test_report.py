"""The whole page: of two arms and of four, in a browser, of a model that writes markup, and of studies that lack something."""

import base64
import hashlib
import html.parser
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import write_completions, write_evaluation, write_manifest, write_metrics, write_study
from hand_runs import records_of
from usual import usual_settings

from vlm_rl.reports.composition import Content, content_of, overridden
from vlm_rl.reports.figures.drawing import legend_label, legend_lines
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import arm_labels
from vlm_rl.reports.reading.runs import ReportError, read_run

SETTING = "pass@1_t0.6"
OWN = 'document.title = "owned"'
HOSTILE = (
    f"Wait. </script></pre></dl><script>{OWN}</script><img src=x onerror='{OWN}'><svg onload='{OWN}'> <!-- ]]> {{{{ 7 * 7 }}}} "
    "\u202egnp.exe\u202c \u2028\u2029 \u0000 \\frac{1}{2} $x$ \\boxed{5}"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser found: none of {', '.join(BROWSERS)}")


LEADS_OUT = re.compile(r"on|(src|href)=(?!#|report_files/[\w]+\.csv$)")


class Elements(html.parser.HTMLParser):
    """Elements of a page, what it loads or leads to but its own tables, what runs on events, and what stands in script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.loaded: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.tags = {tag for tag, _ in self.found}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.loaded += [f"{name}={value}" for name, value in attrs if LEADS_OUT.match(f"{name}={value}")]
        self.scripts += [""] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and not self.scripts[-1]:
            self.scripts[-1] = data


def page_of(study: Path, **changes: Any) -> str:
    return render_html(content_of(records_of(study), settings=usual_settings(**changes)), language="en")


@pytest.mark.slow
def test_the_same_records_make_the_same_report(fake_records: Records, fake_content: Content) -> None:
    again = content_of(fake_records, settings=usual_settings())
    assert {name: str(rows) for name, rows in again.as_json()["tables"].items() if name != "cost"}.items() <= {
        name: str(rows) for name, rows in fake_content.as_json()["tables"].items()
    }.items()
    assert again.as_json()["figures"] == fake_content.as_json()["figures"]


@pytest.mark.slow
def test_the_page_says_the_headline_and_the_command_and_has_two_arms_verdicts_open_before_their_picture(
    fake_content: Content, fake_page: str
) -> None:
    assert fake_content.decision.headline in fake_page.replace("\u00a0", " ")  # 38.5 % is never torn apart
    assert "python report.py &#39;studies=[&lt;here&gt;]&#39;" in fake_page
    assert fake_page.index('class="forest"') > fake_page.index("card verdict") and "What it rests on" not in fake_page
    names = [one.name for one in (*fake_content.tables, *fake_content.figures)]
    assert [name for name in names if name == "pairs" or name.startswith("arms_one_by_one")] == []  # those are for more arms


@pytest.mark.slow
def test_a_wide_table_is_printed_across_with_its_heading_and_keeps_its_first_column_when_scrolled(fake_page: str) -> None:
    assert re.search(r'<div class="table many">\s*<h3 id="table-accuracy">', fake_page)  # 12 columns
    assert re.search(r'<div class="table">\s*<h3 id="table-gain">', fake_page)
    styles = (
        "@page wide { size: A4 landscape; }",
        "main, footer, .many-arms { page: wide; }",
        "th:first-child { position: sticky;",
    )
    assert [style for style in styles if style not in fake_page] == []


@pytest.mark.slow
def test_the_page_needs_no_network_and_runs_one_script_which_is_ours(fake_page: str) -> None:
    page = Elements(fake_page)
    assert page.tags & {"link", "iframe", "img", "object", "embed", "form", "base"} == set(page.loaded) == set()
    assert [found.get("type") for tag, found in page.found if tag == "script"] == ["application/json", None]
    data, own = page.scripts
    assert json.loads(data)["cases"]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    (policy,) = (str(found["content"]) for _, found in page.found if found.get("http-equiv") == "Content-Security-Policy")
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}';" in policy
    assert "textContent" in own  # and no markup is written
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function|fetch|import", own)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page on a model that writes markup, and a megabyte of it once in training and once in an evaluation."""
    study = write_study(tmp_path_factory.mktemp("hostile") / "study", seeds=(0,), epochs=1, questions=4)
    run = study / "default" / "seed-0"
    row = {"response": HOSTILE, "question": HOSTILE, "answer": HOSTILE, "kind": f"<b>kind</b>{HOSTILE}"}
    for split, count, changes in (("test", 4, row), ("val", 1, row | {"response": "x" * 2**20})):
        asked = {"epoch": 1, "split": split, "setting": SETTING, "questions": count}
        write_evaluation(run, outcome=lambda q, s: q > 1, **asked, **changes)
    rows = [{"number": q, "correct": q > 0, **row} for q in range(3)]
    write_completions(run, step=1, rows=[*rows, {"number": 3, "correct": True, "response": "x" * 2**20}])
    return page_of(study)


@pytest.mark.slow
def test_what_a_model_writes_is_never_markup_and_a_megabyte_of_it_is_cut(hostile: str) -> None:
    text, page = hostile, Elements(hostile)
    assert (page.tags & {"img", "b"}, page.loaded, len(page.scripts)) == (set(), [], 2)
    held = ("&lt;script&gt;document.title =", "{{ 7 * 7 }}", "x" * 2000, "… and 1046576 more characters.")
    assert [part for part in held if part not in text.replace("\\u2026", "…")] == []
    assert "not judged" in text  # a single seed
    assert "\u0000" not in text and "x" * 2001 not in text and len(text) < 2**20


def dom_of(page: str, *, folder: Path) -> str:
    """The document after its scripts ran in a real browser."""
    (folder / "page.html").write_text(page)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [str(BROWSER), *flags, (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180, errors="replace").stdout


@pytest.mark.slow
@in_a_browser
def test_no_script_of_a_response_runs_and_the_reader_shows_it_as_text(hostile: str, tmp_path: Path) -> None:
    dom = dom_of(hostile, folder=tmp_path)
    assert "<title>study · vlm-rl</title>" in dom
    cards = re.findall(r'<article class="case card">.*?</article>', dom, re.DOTALL)
    assert (len(cards), dom.count("<script")) == (10, 2)
    assert "<mark>Wait</mark>. &lt;/script&gt;&lt;/pre&gt;" in cards[0]
    assert "<mark>right, with a reflection word</mark>" in cards[0]
    assert not re.search(r"<img[^>]+onerror|<svg[^>]+onload", dom)


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize(("has_policy", "title"), [(True, "study · vlm-rl"), (False, "owned")])
def test_even_markup_that_slipped_through_would_not_run(hostile: str, tmp_path: Path, has_policy: bool, title: str) -> None:
    """The policy alone; and without it the same page is taken over, so that the browser would have told."""
    slipped = hostile.replace("<nav ", f"<script>{OWN}</script><img src=x onerror='{OWN}'><nav ", 1)
    page = slipped if has_policy else re.sub(r"<meta http-equiv=[^>]*>", "", slipped)
    assert f"<title>{title}</title>" in dom_of(page, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"with_vanilla": False}, {"epochs": 0}])
def test_one_seed_without_a_vanilla_model_or_an_epoch_still_makes_a_report(tmp_path: Path, changes: dict[str, Any]) -> None:
    page = page_of(write_study(tmp_path / "study", **({"seeds": (0,), "epochs": 1, "questions": 4} | changes)))
    visible, *_ = page.split('<script type="application/json"')
    assert not re.search(r"(?<![\w-])nan(?![\w-])|improved accuracy", visible)
    assert "not judged" in visible


@pytest.mark.slow
def test_the_vanilla_model_alone_makes_a_report(fake_study: Path) -> None:
    page = page_of(fake_study / "vanilla-1a2b3c4d")
    assert "No verdict: no trained run was evaluated beside its vanilla model." in page and "Nothing was trained here." in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setting": "pass@4_t0.9"}, r"report.setting=pass@4_t0.9, .*pass@8_t1.0, pass@1_t0.6, pass@1_t0.01"),
        ({"split": "dev"}, r"report.split=dev, .*val, test"),
        ({"split": "val"}, r"report.split=val also picks the epochs, .*Pass another split"),
    ],
)
def test_what_no_run_can_be_judged_by_is_refused_with_what_can(
    fake_records: Records, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReportError, match=message):
        overridden(fake_records, settings=usual_settings(**changes))


def test_broken_unfinished_and_incomparable_runs_are_left_out_or_not_judged_and_the_report_says_so(tmp_path: Path) -> None:
    """One arm judged by another judge and with an unfinished run, one broken manifest, one evaluation that is no Parquet file."""
    study = write_study(tmp_path / "study", epochs=1, questions=6)
    for seed in range(3):
        asked = {"epoch": 1, "split": "test", "setting": SETTING, "questions": 6, "judge_version": "judge-2"}
        write_evaluation(study / "default" / f"seed-{seed}", outcome=lambda q, s: True, **asked)
    run = study / "default" / "seed-2"
    write_manifest(run, algorithm="reinforce_pp", seed=2, arm="a" * 16, vanilla="vanilla-1a2b3c4d", status="running")
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"event": "train", "generation_st')
    (study / "algorithm-sft" / "seed-2" / "manifest.json").write_text('{"study": ')
    (study / "algorithm-sft" / "seed-1" / "evaluations" / "epoch-0001" / f"val_{SETTING}.parquet").write_bytes(b"PAR1")
    content = content_of(records_of(study), settings=usual_settings())
    said = ["reinforce_pp against the vanilla model is not judged"]
    said += ["the answers were judged by different versions of the judge (judge-1, judge-2)"]
    said += ["unfinished runs are left out of every mean and verdict: seed 2."]
    said += ["algorithm-sft/seed-2/manifest.json could not be read and its run is left out"]
    said += [f"val_{SETTING}.parquet cannot be read", "things were missing or odd; they are listed under"]
    assert [sentence for sentence in said if sentence not in json.dumps(content.as_json())] == []
    assert [legend_label(line) for line in legend_lines(content.figures[0])] == [
        "reinforce_pp, n = 2 seeds",
        "sft, n = 2 seeds",
    ]


RIGHT = {"dapo": 9, "grpo": 6, "rloo": 5, "sft": 3}  # of 12 questions, after training; 4 before it


@pytest.fixture(scope="module")
def four_arms(tmp_path_factory: pytest.TempPathFactory) -> Content:
    study = tmp_path_factory.mktemp("many") / "study"
    for (place, (algorithm, count)), seed in itertools.product(enumerate({"vanilla": 4, **RIGHT}.items()), range(3)):
        run = study / algorithm / f"seed-{seed}"
        vanilla = "vanilla" if place else None
        write_manifest(run, algorithm=algorithm, seed=seed, arm=f"{place}" * 16, vanilla=vanilla)
        if vanilla:
            generator = np.random.default_rng([place, seed])
            write_metrics(run, steps=12, epochs=1, generator=generator, has_responses=algorithm != "sft")
        for split in ("val", "test"):
            asked = {"split": split, "epoch": min(place, 1), "setting": "pass@1_t0.6", "questions": 12}
            write_evaluation(run, outcome=lambda q, s, most=count + seed % 2: q < most, **asked)
    return content_of(records_of(study), settings=usual_settings())


@pytest.fixture(scope="module")
def page_of_four(four_arms: Content) -> str:
    return render_html(four_arms, language="en")


@pytest.mark.slow
def test_every_column_is_filled_from_the_rows_of_its_table(four_arms: Content) -> None:
    """A column that is declared in words/tables.toml under a key that no row has would show dashes only."""
    columns = {(table.name, column.key) for table in four_arms.tables for column in table.columns}
    filled = {(table.name, key) for table in four_arms.tables for row in table.rows for key in row}
    assert len(columns) > 150 and columns <= filled


@pytest.mark.slow
def test_the_picture_of_all_effects_comes_before_the_verdicts_which_open_on_demand(page_of_four: str) -> None:
    assert page_of_four.index('class="forest"') < page_of_four.index("card verdict")
    assert page_of_four.count("<details><summary>What it rests on</summary>") == 4


@pytest.mark.slow
def test_four_arms_have_small_multiples_and_pairs(four_arms: Content) -> None:
    numbers = four_arms.as_json()
    assert len(numbers["tables"]["pairs"]) == 6  # 4 x 3 / 2
    trained, validated = (numbers["figures"][name] for name in ("arms_one_by_one", "arms_one_by_one_validation"))
    assert [panel["title"] for panel in (*trained, *validated)] == ["dapo", "grpo", "rloo", "dapo", "grpo", "rloo", "sft"]


@pytest.mark.slow
def test_an_arm_has_one_colour_in_the_legend_the_forest_and_its_own_panel(page_of_four: str) -> None:
    assert re.search(r'<span class="arm-2" data-glyph="▲——">rloo, n\s=\s3 seeds', page_of_four)
    assert re.search(r'<div class="row arm-2">\s*<span class="name"><bdi>rloo', page_of_four)
    (own,) = re.findall(r'aria-label="rloo: training accuracy[^"]*">(.*?)</svg>', page_of_four, re.DOTALL)
    assert set(re.findall(r"--arm-\d", own)) == {"--arm-2"}


def test_labels_are_as_short_as_they_tell_arms_apart(tmp_path: Path) -> None:
    arms = {"a/x": "sft", "a/x2": "grpo", "a/y": "grpo", "b/y": "grpo"}
    for place, (variant, algorithm) in enumerate(arms.items()):
        write_manifest(tmp_path / variant / "seed-0", algorithm=algorithm, seed=0, arm=str(place) * 16, vanilla=None)
    runs = [read_run(tmp_path / variant / "seed-0") for variant in arms]
    assert arm_labels(runs) == ["sft", "grpo (x2)", "grpo (a/y)", "grpo (b/y)"]
