"""A report on four arms, from folders to page: what it orders otherwise, and what it has that two arms do not need."""

import re
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_evaluation, write_manifest, write_metrics, write_study
from usual import usual_settings

from vlm_rl.reports.composition import Content, content_of
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs

RIGHT = {"dapo": 9, "grpo": 6, "rloo": 5, "sft": 3}  # of 12 questions, after training; 4 before it


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    study = tmp_path_factory.mktemp("many") / "study"
    for place, (algorithm, count) in enumerate({"vanilla": 4, **RIGHT}.items()):
        for seed in range(3):
            run = study / algorithm / f"seed-{seed}"
            vanilla = None if algorithm == "vanilla" else "vanilla"
            write_manifest(run, algorithm=algorithm, seed=seed, arm=f"{place}" * 16, vanilla=vanilla)
            if vanilla:
                generator = np.random.default_rng([place, seed])
                write_metrics(run, steps=12, epochs=1, generator=generator, has_responses=algorithm != "sft")
            asked = {"epoch": 1 if vanilla else 0, "setting": "pass@1_t0.6", "questions": 12}
            for split in ("val", "test"):
                write_evaluation(run, split=split, outcome=lambda q, s, most=count + seed % 2: q < most, **asked)
    return content_of(read_records(find_runs([study]), reflection=None), settings=usual_settings())


def test_the_picture_of_all_effects_comes_before_the_verdicts_which_open_on_demand(content: Content) -> None:
    html = render_html(content, language="en")
    assert html.index('class="forest"') < html.index("card verdict")
    assert html.count("<details><summary>What it rests on</summary>") == 4


def test_two_arms_keep_their_verdicts_first_and_open_and_have_neither_panels_of_their_own_nor_pairs(tmp_path: Path) -> None:
    records = read_records(find_runs([write_study(tmp_path / "s", epochs=1, questions=4)]), reflection=None)
    content = content_of(records, settings=usual_settings())
    html = render_html(content, language="en")
    assert html.index('class="forest"') > html.index("card verdict")
    assert "What it rests on" not in html
    assert "pairs" not in {table.name for table in content.tables}
    assert not any(figure.name.startswith("arms_one_by_one") for figure in content.figures)


def test_four_arms_have_small_multiples_and_pairs(content: Content) -> None:
    numbers = content.as_json()
    assert len(numbers["tables"]["pairs"]) == 6  # 4 x 3 / 2
    trained, validated = (numbers["figures"][name] for name in ("arms_one_by_one", "arms_one_by_one_validation"))
    assert [panel["title"] for panel in trained] == ["dapo", "grpo", "rloo"]
    assert [panel["title"] for panel in validated] == ["dapo", "grpo", "rloo", "sft"]


def test_an_arm_has_one_colour_in_the_legend_the_forest_and_its_own_panel(content: Content) -> None:
    html = render_html(content, language="en")
    assert re.search(r'<span class="arm-2" data-glyph="▲——">rloo, n\s=\s3 seeds', html)
    assert re.search(r'<div class="row arm-2">\s*<span class="name"><bdi>rloo', html)
    (own,) = re.findall(r'aria-label="rloo: training accuracy[^"]*">(.*?)</svg>', html, re.DOTALL)
    assert set(re.findall(r"--arm-\d", own)) == {"--arm-2"}
