"""launchers/this_machine.sh for real, with GPUs that only their numbers know: torch sees none and trains on the CPU."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from launcher_scripts import ROOT, environment
from tiny_commands import BRIEF, content, only_run


@pytest.mark.slow
def test_jobs_at_the_same_time_never_share_a_gpu_and_find_what_one_job_alone_finds(
    tmp_path: Path, seed_2: dict[str, str]
) -> None:
    """Three jobs, two GPUs: a worker that is free again takes the third to its own."""
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    spy = tmp_path / "spy"
    spy.mkdir()
    hydra = ("+hydra.callbacks.spy._target_=gpu_spy.GpuSpy", f"+hydra.callbacks.spy.folder={spy}")
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    around = {"PYTHON": sys.executable, "PYTHONPATH": path, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(ROOT / "launchers" / "this_machine.sh"), *BRIEF, "study=own", "seeds=paper", *hydra],
        cwd=tmp_path,
        env=environment(CUDA_VISIBLE_DEVICES="4,5") | around,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = [json.loads((spy / f"{number}.json").read_text(encoding="utf-8")) for number in range(3)]
    assert [job["status"] for job in jobs] == ["COMPLETED"] * 3
    assert content(only_run(tmp_path, study="own", seed=2)) == seed_2
    assert {job["gpus"] for job in jobs} == {"4", "5"}
    for one, other in itertools.combinations(jobs, 2):
        assert (one["pid"] == other["pid"]) == (one["gpus"] == other["gpus"])
        assert not (side_by_side(one, other) and one["gpus"] == other["gpus"])
    assert any(side_by_side(one, other) for one, other in itertools.combinations(jobs, 2)), "else nothing was shown"
    ordered = sorted(jobs, key=lambda job: job["start"])
    assert [job["first"] for job in jobs] == [True] * 3, "else questions to CUDA may have gone by uncounted"
    assert [bool(job["asked"]) for job in ordered] == [False, False, True], "CUDA is asked by a job, not before the first"


def side_by_side(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["start"] < other["end"] and other["start"] < one["end"])
