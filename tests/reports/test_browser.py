"""The page in a real browser, where one is installed: what a model wrote runs nothing, and the reader reads."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_runs import sample_row, write_evaluation, write_rows, write_study
from usual import usual_settings

from vlm_rl.reports.report import make_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser found: none of {', '.join(NAMES)}")
OWN = 'document.title = "owned"'
HOSTILE = (
    f"Wait. </script><script>{OWN}</script><img src=x onerror='{OWN}'><svg onload='{OWN}'> <!-- ]]> {{{{ 7 * 7 }}}} "
    "\u202egnp.exe\u202c \u2028\u2029 \u0000 \\frac{1}{2} $x$ \\boxed{5}"
)


def dom_of(page: Path, *, profile: Path) -> str:
    """The document after its scripts ran."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = [str(BROWSER), *flags, f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180, errors="replace").stdout


def title_of(dom: str) -> str:
    found = re.search(r"<title>([^<]*)</title>", dom)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    study = write_study(folder / "study", seeds=(0,), epochs=1, questions=4)
    run = study / "default" / "seed-0"
    hostile = {"response": HOSTILE, "question": HOSTILE, "answer": HOSTILE, "kind": HOSTILE}
    for split in ("val", "test"):
        write_evaluation(run, epoch=1, split=split, setting="pass@1_t0.6", outcome=lambda q, s: q > 1, questions=4, **hostile)
    rows = [sample_row(q, sample=0, correct=q > 0, split="train", setting="rollout", epoch=0.2, **hostile) for q in range(3)]
    long = sample_row(3, sample=0, correct=True, split="train", setting="rollout", epoch=0.2, response="x" * 2**20)
    write_rows(
        run / "completions" / "step-000001.parquet",
        rows=[row | {"score": 1.0, "reward_accuracy": 1.0} for row in (*rows, long)],
    )
    return make_report([study], out=None, settings=usual_settings())


def test_no_script_of_a_response_runs_and_the_reader_shows_it_as_text(page: Path, tmp_path: Path) -> None:
    dom = dom_of(page, profile=tmp_path)
    assert title_of(dom) == "study · vlm-rl"
    cards = re.findall(r'<article class="case card">.*?</article>', dom, re.DOTALL)
    assert len(cards) == 10
    assert "<mark>Wait</mark>. &lt;/script&gt;&lt;script&gt;" in cards[0]
    assert "<mark>right, with a reflection word</mark>" in cards[0]
    assert len(re.findall(r"<script", dom)) == 2
    assert not re.search(r"<img[^>]+onerror|<svg[^>]+onload", dom)


def test_even_markup_that_slipped_through_would_not_run(page: Path, tmp_path: Path) -> None:
    """The policy alone; and without it the same page is taken over, so that the browser would have told."""
    slipped = page.read_text().replace("<nav ", f"<script>{OWN}</script><img src=x onerror='{OWN}'><nav ", 1)
    (tmp_path / "slipped.html").write_text(slipped)
    open_to_all = re.sub(r"<meta http-equiv=[^>]*>", "", slipped)
    (tmp_path / "open.html").write_text(open_to_all)
    assert title_of(dom_of(tmp_path / "slipped.html", profile=tmp_path / "a")) == "study · vlm-rl"
    assert title_of(dom_of(tmp_path / "open.html", profile=tmp_path / "b")) == "owned"
