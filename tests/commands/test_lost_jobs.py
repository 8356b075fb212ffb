"""Jobs of a sweep that are gone without a word are reported as failed jobs. tests/real_clusters does it on SLURM and Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKERS_END = """import os, sys, threading
if any("loky.backend.popen" in word for word in sys.orig_argv):
    threading.Timer(1.0, os._exit, [7]).start()
"""


@pytest.mark.slow
def test_a_sweep_names_each_run_that_was_lost_with_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WORKERS_END)
    words = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "study=lost", "experiment=smoke", "seed=3,4")
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "2 of 2 jobs failed" in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("  #")]
    for place, (line, seed) in enumerate(zip(lines, (3, 4), strict=True)):
        assert line.startswith(f"  #{place} study=lost experiment=smoke seed={seed}: a process of this sweep was killed")
        assert "EXIT(7)" in line
        assert line.endswith(f"({tmp_path / 'outputs' / 'lost' / 'experiment-smoke' / f'seed-{seed}'})")
