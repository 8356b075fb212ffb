"""A report on four arms, from folders to page: what it orders otherwise, and what it has that two arms do not need."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_evaluation, write_manifest, write_metrics
from hand_runs import records_of
from usual import usual_settings

from vlm_rl.reports.composition import Content, content_of
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.reading.records import arm_labels
from vlm_rl.reports.reading.runs import read_run

pytestmark = pytest.mark.slow
RIGHT = {"dapo": 9, "grpo": 6, "rloo": 5, "sft": 3}  # of 12 questions, after training; 4 before it


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
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
def page(content: Content) -> str:
    return render_html(content, language="en")


def test_every_column_is_filled_from_the_rows_of_its_table(content: Content) -> None:
    """A column that is declared in words/tables.toml under a key that no row has would show dashes only."""
    columns = {(table.name, column.key) for table in content.tables for column in table.columns}
    filled = {(table.name, key) for table in content.tables for row in table.rows for key in row}
    assert len(columns) > 150 and columns <= filled


def test_the_picture_of_all_effects_comes_before_the_verdicts_which_open_on_demand(page: str) -> None:
    assert page.index('class="forest"') < page.index("card verdict")
    assert page.count("<details><summary>What it rests on</summary>") == 4


def test_four_arms_have_small_multiples_and_pairs(content: Content) -> None:
    numbers = content.as_json()
    assert len(numbers["tables"]["pairs"]) == 6  # 4 x 3 / 2
    trained, validated = (numbers["figures"][name] for name in ("arms_one_by_one", "arms_one_by_one_validation"))
    assert [panel["title"] for panel in (*trained, *validated)] == ["dapo", "grpo", "rloo", "dapo", "grpo", "rloo", "sft"]


def test_an_arm_has_one_colour_in_the_legend_the_forest_and_its_own_panel(page: str) -> None:
    assert re.search(r'<span class="arm-2" data-glyph="▲——">rloo, n\s=\s3 seeds', page)
    assert re.search(r'<div class="row arm-2">\s*<span class="name"><bdi>rloo', page)
    (own,) = re.findall(r'aria-label="rloo: training accuracy[^"]*">(.*?)</svg>', page, re.DOTALL)
    assert set(re.findall(r"--arm-\d", own)) == {"--arm-2"}


def test_labels_are_as_short_as_they_tell_arms_apart(tmp_path: Path) -> None:
    arms = {"a/x": "sft", "a/x2": "grpo", "a/y": "grpo", "b/y": "grpo"}
    for place, (variant, algorithm) in enumerate(arms.items()):
        write_manifest(tmp_path / variant / "seed-0", algorithm=algorithm, seed=0, arm=str(place) * 16, vanilla=None)
    runs = [read_run(tmp_path / variant / "seed-0") for variant in arms]
    assert arm_labels(runs) == ["sft", "grpo (x2)", "grpo (a/y)", "grpo (b/y)"]
