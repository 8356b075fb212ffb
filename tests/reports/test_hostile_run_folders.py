"""A run folder of somebody else is data: no link or name in it leads out, nothing in it is overwritten elsewhere or runs."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from case_files import cases
from fake_runs import write_manifest, write_study
from hand_runs import ENDPOINT, records_of
from usual import usual_settings
from watched import watched

from vlm_rl.reports.reading.completions import completions_for_reader, find_images
from vlm_rl.reports.reading.runs import ReportError, find_runs
from vlm_rl.reports.report import _make_folder
from vlm_rl.reports.tables.table import write_whole

pytestmark = pytest.mark.slow

RUN = "default/seed-0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sane study, and another one beside it that must not be read."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder / "outside", seeds=(0,), epochs=1, questions=2)
    return write_study(folder / "s", seeds=(0, 1), epochs=1, questions=2).parent


@pytest.fixture
def study(tmp_path: Path, whole: Path) -> Path:
    return shutil.copytree(whole, tmp_path, dirs_exist_ok=True) / "s"


def problems_of(study: Path) -> str:
    """All problems of the study; nothing outside of it is opened, and nothing is run."""
    with watched(study) as seen:
        problems = "\n".join(records_of(study).problems)
    assert seen == []
    return problems


def test_a_sane_study_has_no_problem_and_a_link_above_it_is_its_owners(study: Path, tmp_path: Path) -> None:
    assert problems_of(study) == ""
    (tmp_path / "linked").symlink_to(study)
    found = find_runs([tmp_path / "linked"])
    assert (len(found.runs), found.problems) == (6, ())


EVALUATION = "evaluations/epoch-0001/val_pass@1_t0.6.parquet"


PLACES = [
    "manifest.json",
    "metrics.jsonl",
    "cost.jsonl",
    "alerts.jsonl",
    EVALUATION,
    "evaluations/epoch-0001",
    "evaluations",
    "",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_link_that_leads_out_is_not_followed(study: Path, tmp_path: Path, place: str) -> None:
    path = study / RUN / place
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "outside" / RUN / place)
    said = re.escape(f"{study / RUN}") + ".* is a link that leads out .*Put a copy of the file in its place"
    assert re.search(said, problems_of(study))


@pytest.mark.parametrize("name", ["metrics.jsonl", "manifest.json", EVALUATION])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_is_no_file(study: Path, make: Callable[[Path], None], name: str) -> None:
    (study / RUN / name).unlink()
    make(study / RUN / name)
    assert f"{study / RUN / name} is no regular file and is not read. Remove it." in problems_of(study)


BROKEN = [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"study":' * 100_000, b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}"]
NULL = [{"algorithm": None}, {"role": None}, {"seed": None}]


@pytest.mark.parametrize("hostile", [*cases("hostile", "manifests"), *BROKEN, *NULL], ids=lambda hostile: str(hostile)[:20])
def test_a_malformed_manifest_costs_its_own_run_only(study: Path, hostile: bytes | dict[str, Any]) -> None:
    path = study / RUN / "manifest.json"
    whole = json.loads(path.read_text())
    path.write_bytes(hostile if isinstance(hostile, bytes) else json.dumps(whole | hostile).encode())
    assert f"{path} could not be read and its run is left out" in problems_of(study)
    assert [run.seed for run in find_runs([study / "default"]).runs] == [1]


def deep(levels: int) -> dict[str, Any]:
    """Schemes in schemes: JSON can still be read at a depth at which a function that calls itself gives up."""
    return {"scheme": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize("value", [[], "text", 7, {"scheme": [], "image": 3, "reflection": "x"}, deep(600)])
def test_a_config_of_other_shapes_is_no_config(study: Path, value: Any) -> None:
    path = study / RUN / "manifest.json"
    config = dict.fromkeys(["evaluation", "model", "dataset", "alerts", "trainer", "algorithm"], value)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": config}))
    problems_of(study)


@pytest.mark.parametrize("vanilla", ["../outside/vanilla-1a2b3c4d", "../../..", "/etc", "x/../../outside/default"])
def test_a_vanilla_model_outside_of_the_study_is_missing(study: Path, vanilla: str) -> None:
    write_manifest(study / RUN, algorithm="reinforce_pp", seed=0, arm="a" * 16, vanilla=vanilla)
    said = f"{study / RUN / 'manifest.json'} names a vanilla model outside of its study ({vanilla})"
    assert re.search(re.escape(said) + ".*Correct vanilla there", problems_of(study))


def test_a_picture_that_is_a_link_out_is_not_shown(study: Path, tmp_path: Path) -> None:
    (study / "images").mkdir()
    (study / "images" / "key.png").symlink_to(tmp_path / "outside" / RUN / "manifest.json")
    (study / "images" / "own.png").write_bytes(b"x")
    records = records_of(study)
    case = completions_for_reader(records, endpoint=ENDPOINT, size=usual_settings().reader)[0]
    asked = replace(case, image_ids=("key", "own", "../images/own", "a\0b"))
    assert [path.name for path in find_images(asked)] == ["own.png"]


@pytest.mark.parametrize("name", ["report.html", "report.json", "report.html.tmp", "report.json.tmp"])
def test_a_link_in_the_way_of_a_report_is_replaced(tmp_path: Path, name: str) -> None:
    precious, report = tmp_path / "precious", tmp_path / name.removesuffix(".tmp")
    precious.write_text("mine")
    (tmp_path / name).symlink_to(precious)
    write_whole(report, text="report")
    assert (precious.read_text(), report.read_text()) == ("mine", "report")


def test_a_linked_folder_of_files_is_refused_and_links_in_it_are_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report_files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportError, match=r"report_files is a link or no folder.*Remove it"):
        _make_folder(tmp_path / "report_files")
    for name in ("a.csv", "b.png"):
        (tmp_path / "elsewhere" / name).symlink_to(tmp_path / "precious")
    _make_folder(tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []
