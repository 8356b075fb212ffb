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

import pytest
from hand_runs import records_of
from usual import usual_settings

from vlm_rl.reports.composition import content_of

HUNDREDTH = 0.01
MOST_GROWTH = 2.6  # of time, each time the data doubles: 2 and what a busy machine adds


def everything_but_pictures(study: Path) -> tuple[float, int, tuple[str, ...]]:
    """The CPU seconds of a report that is not drawn, the most memory in KiB and the problems."""
    start = time.process_time()
    content = content_of(records_of(study), settings=usual_settings())
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, tuple(map(str, content.problems))


@pytest.mark.slow
def test_four_times_the_data_take_four_times_the_time_and_hardly_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the runs, and twice the steps and evaluations of each."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))  # what the benchmark needs lies beside it
    benchmarks = importlib.import_module("report_scale")
    size = benchmarks.Size().scaled(HUNDREDTH)
    assert size.num_texts == pytest.approx(HUNDREDTH * benchmarks.Size().num_texts, rel=0.25)
    larger = replace(size, runs=2 * size.runs, steps=2 * size.steps, evaluations=2 * size.evaluations)
    studies = [benchmarks.write_fixture(tmp_path / name, size=each) for name, each in (("once", size), ("larger", larger))]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as own_process:
        once, four_times = own_process.map(everything_but_pictures, studies)
    assert once[2] == four_times[2] == ()
    assert four_times[0] < MOST_GROWTH**2 * once[0]
    assert four_times[1] < 1.3 * once[1]
