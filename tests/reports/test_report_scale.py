"""The report's time and memory grow no faster than the data, at a hundredth of the size that benchmarks/report_scale.py has.

Measured in processes of their own, in CPU seconds of all their threads: how busy the machine is changes little.
"""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HUNDREDTH = 0.01
MOST_GROWTH = 2.6  # of time, where the data doubles: 2 and what a busy machine adds
READ = """
import json, resource, sys, time
from pathlib import Path
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.completions import completions_for_reader
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs

endpoint = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
seconds = []
for _ in range(3):
    start = time.process_time()
    records = read_records(find_runs([Path(sys.argv[1])]), reflection=None)
    evaluation_behaviour(records, endpoint=endpoint)
    completions_for_reader(records, endpoint=endpoint, cases_per_group=2, aha_cases=3, longest=2000)
    seconds.append(time.process_time() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": min(seconds), "peak": peak, "problems": records.problems}))
"""


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/report_scale.py; what it needs lies beside it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("report_scale")


def measured(study: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", READ, str(study)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_reading_twice_the_data_takes_twice_the_time_and_hardly_more_memory(tmp_path: Path, benchmarks: ModuleType) -> None:
    size = benchmarks.Size().scaled(HUNDREDTH)
    assert size.num_texts == pytest.approx(HUNDREDTH * benchmarks.Size().num_texts, rel=0.25)
    longer = replace(size, steps=2 * size.steps, evaluations=2 * size.evaluations)
    studies = {"once": size, "twice": longer}
    once, twice = (measured(benchmarks.write_fixture(tmp_path / name, size=each)) for name, each in studies.items())
    assert once["problems"] == twice["problems"] == []
    assert twice["seconds"] < MOST_GROWTH * once["seconds"]
    assert twice["peak"] < 1.3 * once["peak"]


@pytest.mark.slow
def test_the_whole_report_on_twice_the_runs_takes_no_more_than_twice_as_long(tmp_path: Path, benchmarks: ModuleType) -> None:
    size = benchmarks.Size().scaled(HUNDREDTH)
    studies = {name: replace(size, runs=times * size.runs) for name, times in {"once": 1, "twice": 2}.items()}
    once, twice = (
        benchmarks.measure_report(benchmarks.write_fixture(tmp_path / name, size=each), out=tmp_path / f"{name}-report")
        for name, each in studies.items()
    )
    assert twice.cpu_seconds < MOST_GROWTH * once.cpu_seconds
    assert twice.peak_bytes < 2 * once.peak_bytes
