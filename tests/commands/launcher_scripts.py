"""Runs the scripts in launchers/ with a `python` that only prints the words it was given."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A fake: what the scripts ask for visible GPUs gets $VISIBLE; the command itself is shown, a word a line, after what it inherits.
PYTHON = """#!/usr/bin/env bash
if [[ "$*" == "-m vlm_rl.commands.own_gpus" ]]; then echo "$VISIBLE"; exit; fi
echo "${CUDA_VISIBLE_DEVICES-unset}"
printf '%s\\n' "$@"
"""
SETTINGS = (
    "GPUS",
    "NODES",
    "JOBS",
    "CPUS",
    "MINUTES",
    "NOTICE",
    "REQUEUE",
    "PARTITION",
    "ADDRESS",
    "DRY_RUN",
    "CUDA_VISIBLE_DEVICES",
)


def environment(**settings: str) -> dict[str, str]:
    """This process's, with these settings of a launcher and no others."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS} | settings


def launched(script: str, *typed: str, folder: Path, visible: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """The script where `visible` GPUs are: what it would start is on stdout."""
    python = folder / "python"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    around = environment(**settings) | {"PYTHON": str(python), "VISIBLE": visible}
    command = [shutil.which("bash") or "bash", str(ROOT / "launchers" / script), *typed]
    return subprocess.run(command, env=around, capture_output=True, text=True, check=False)


def words(script: str, *typed: str, folder: Path, visible: str = "", **settings: str) -> list[str]:
    """The words after `python` that a script composes."""
    done = launched(script, *typed, folder=folder, visible=visible, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[1:]
