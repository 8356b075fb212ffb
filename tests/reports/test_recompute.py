"""benchmarks/recompute_report.py finds every number of a report again in the raw files, and every number that was changed."""

import copy
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_runs import ENDPOINT, write_study
from hand_runs import records_of
from usual import usual_settings
from written_study import write_whole_study

from vlm_rl.reports.composition import content_of

ARMS = (
    ("reinforce_pp", "default", "1", 0.16),
    ("grpo", "algorithm-grpo", "2", 0.09),
    ("grpo", "algorithm-grpo,clip", "3", 0.04),
    ("dapo", "algorithm-dapo", "4", 0.01),
    ("rloo", "algorithm-rloo", "5", -0.02),
    ("gspo", "algorithm-gspo", "6", -0.14),
    ("sft", "algorithm-sft", "7", 0.3),
    ("sft", "algorithm-sft,small", "8", 0.0),
)
MANIFEST = {
    "config": {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"smallest_effect": 0.15}}}, "dataset": {"batch_size": 8}},
    "machine": "two cores, no GPU",
}
NUMBER = re.compile(r"\d+\.\d")


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    """The script lies outside the package and imports its neighbours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("recompute_report")


@pytest.fixture(scope="module")
def eight_arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of eight arms, three seeds each, with its report.json."""
    study = write_study(tmp_path_factory.mktemp("eight") / "study", arms=ARMS, epochs=2, questions=30, **MANIFEST)
    return with_report(study)


def with_report(study: Path) -> Path:
    content = content_of(records_of(study), settings=usual_settings())
    (study / "report.json").write_text(json.dumps(content.as_json()))
    return study


@pytest.mark.slow
def test_every_number_of_a_report_on_eight_arms_follows_from_its_files(benchmark: ModuleType, eight_arms: Path) -> None:
    found = benchmark.compare_report(eight_arms, eight_arms)
    assert found.differences == []
    cards = json.loads((eight_arms / "report.json").read_text())["decision"]["verdicts"]
    assert {card["outcome"] for card in cards} >= {"improvement", "open", "no_difference"}
    assert found.compared.total() > 5000
    unread = [text for (part, _, text), count in found.left_out.items() if part.startswith("first page") and count]
    assert all("The same holds, with other figures" in text for text in unread)


@pytest.mark.slow
def test_runs_that_shared_a_machine_and_wrote_hashes_give_the_same_numbers(benchmark: ModuleType, tmp_path: Path) -> None:
    study = with_report(write_whole_study(tmp_path / "s"))
    found = benchmark.compare_report(study, study)
    assert found.differences == []
    assert found.compared.total() > 1000


@pytest.mark.slow
def test_a_number_that_was_changed_is_found_wherever_it_stands(benchmark: ModuleType, eight_arms: Path, tmp_path: Path) -> None:
    report = json.loads((eight_arms / "report.json").read_text())
    compared = benchmark.compare_report(eight_arms, eight_arms).compared
    spoiled = copy.deepcopy(report)
    changed = {table for table in report["tables"] if table in compared and spoil_row(spoiled["tables"][table])}
    decision = spoiled["decision"]
    decision["headline"] = spoil(decision["headline"])
    decision["action"] = spoil(decision["action"])
    decision["cost"][0] = spoil(decision["cost"][0])
    decision["verdicts"][0]["said"] = spoil(decision["verdicts"][0]["said"])
    decision["forest"][0]["seeds"][1] += 2e-6
    places = {"headline", "action", "cost", "verdict cards"}
    changed |= {"picture of the first page", *(f"first page, {place}" for place in places)}
    (tmp_path / "report.json").write_text(json.dumps(spoiled))
    found = benchmark.compare_report(eight_arms, tmp_path)
    assert len(changed) > 20
    found_in = [
        {place for place in changed if difference.startswith((f"{place},", f"{place}:"))} for difference in found.differences
    ]
    assert sorted(place for places in found_in for place in places) == sorted(changed)


def test_tables_that_differ_in_a_cell_a_row_or_a_column_are_told(benchmark: ModuleType) -> None:
    anew = benchmark.Anew(name="t", keys=("arm",), rows=[{"arm": "a", "x": 0.5}, {"arm": "b", "x": float("nan")}])
    told = {
        "equal": [{"arm": "a", "x": 0.5 + 9e-7}, {"arm": "b", "x": None}],
        "cell": [{"arm": "a", "x": 0.5 + 2e-6}, {"arm": "b", "x": None}],
        "nothing": [{"arm": "a", "x": None}, {"arm": "b", "x": None}],
        "row": [{"arm": "a", "x": 0.5}],
        "column": [{"arm": "a", "x": 0.5, "y": 1.0}, {"arm": "b", "x": None}],
    }
    differences = {}
    for name, rows in told.items():
        found = benchmark.Comparison()
        found.table(anew, rows)
        differences[name] = len(found.differences)
    assert differences == {"equal": 0, "cell": 1, "nothing": 1, "row": 1, "column": 1}


def test_nothing_of_the_package_is_imported() -> None:
    scripts = sorted((Path(__file__).parents[2] / "benchmarks").glob("recompute_*.py"))
    assert len(scripts) > 5
    assert not any(re.search(r"^\s*(from|import) vlm_rl", path.read_text(encoding="utf-8"), re.MULTILINE) for path in scripts)


def spoil_row(rows: list[dict[str, Any]]) -> bool:
    """Change the first measured number of the first row by 2e-6, or of its size; False where it has none."""
    row = rows[0]
    for key in row:
        if isinstance(row[key], float):
            row[key] += 2e-6 * max(1.0, abs(row[key]))
            return True
    return False


def spoil(text: str) -> str:
    """The sentence with another last digit in the first number that has a decimal."""
    return NUMBER.sub(lambda found: f"{found[0][:-1]}{(int(found[0][-1]) + 3) % 10}", text, count=1)
