"""The report's time and memory grow no faster than the data, at a hundredth of the size that benchmarks/report_scale.py has.

Measured in processes of their own, in CPU seconds of all their threads: how busy the machine is changes little.
"""

import importlib
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hand_runs import ENDPOINT, records_of

from vlm_rl.reports.reading.completions import completions_for_reader
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour

HUNDREDTH = 0.01
MOST_GROWTH = 2.6  # of time, where the data doubles: 2 and what a busy machine adds


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/report_scale.py; what it needs lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("report_scale")


def read_thrice(study: Path) -> tuple[float, int, tuple[str, ...]]:
    """The fewest CPU seconds of three readings, the most memory in KiB and the problems."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        records = records_of(study)
        evaluation_behaviour(records, endpoint=ENDPOINT)
        completions_for_reader(records, endpoint=ENDPOINT, cases_per_group=2, aha_cases=3, longest=2000)
        seconds.append(time.process_time() - start)
    return min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, tuple(map(str, records.problems))


def test_reading_twice_the_data_takes_twice_the_time_and_hardly_more_memory(tmp_path: Path, benchmarks: ModuleType) -> None:
    size = benchmarks.Size().scaled(HUNDREDTH)
    assert size.num_texts == pytest.approx(HUNDREDTH * benchmarks.Size().num_texts, rel=0.25)
    sizes = {"once": size, "twice": replace(size, steps=2 * size.steps, evaluations=2 * size.evaluations)}
    studies = [benchmarks.write_fixture(tmp_path / name, size=each) for name, each in sizes.items()]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as own_process:
        once, twice = own_process.map(read_thrice, studies)
    assert once[2] == twice[2] == ()
    assert twice[0] < MOST_GROWTH * once[0]
    assert twice[1] < 1.3 * once[1]


@pytest.mark.slow
def test_the_whole_report_on_twice_the_runs_takes_no_more_than_twice_as_long(tmp_path: Path, benchmarks: ModuleType) -> None:
    size = benchmarks.Size().scaled(HUNDREDTH)
    sizes = {"once": size, "twice": replace(size, runs=2 * size.runs)}
    once, twice = (
        benchmarks.measure_report(benchmarks.write_fixture(tmp_path / name, size=each), out=tmp_path / f"{name}-report")
        for name, each in sizes.items()
    )
    assert twice.cpu_seconds < MOST_GROWTH * once.cpu_seconds
    assert twice.peak_bytes < 2 * once.peak_bytes
