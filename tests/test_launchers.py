"""Launchers are shell: what can be known without a cluster is that they parse, can be run and say how they are used."""

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "launchers"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_launcher_parses_can_be_run_as_typed_and_begins_with_its_usage(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(script, os.X_OK)
    shebang, *lines = script.read_text(encoding="utf-8").splitlines()
    head = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert shebang == "#!/usr/bin/env bash"
    assert any(f"launchers/{script.name} " in line for line in head)


def test_there_is_a_launcher_for_each_way_to_run_a_study() -> None:
    """The control: without scripts every test above would pass by being empty."""
    assert {"this_machine.sh", "slurm.sh", "ray.sh", "vllm.sh"} <= {script.name for script in SCRIPTS}
