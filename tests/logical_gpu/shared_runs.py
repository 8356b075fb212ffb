"""Each scenario runs once for all tests, also where several workers share them out."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from forking import Forking
from logical.findings import Findings
from scenarios import SCENARIOS

SCRIPT = str(Path(__file__).with_name("run_scenario.py"))
Seen = Callable[..., Findings]  # (name of a scenario, name of a control) -> what the logical GPU saw


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One that all workers of a test session know."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "logical_gpu"


def seen_once(forking: Forking, shared: Path, *words: str) -> Findings:
    """Runs a scenario unless it has been run."""
    folder = shared / hashlib.sha256(repr(words).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    with FileLock(folder / ".running"):
        if not result.exists():
            result.write_text(json.dumps(run_scenario(forking, folder, *words).as_json()))
    return Findings.from_json(json.loads(result.read_text()))


def run_scenario(forking: Forking, folder: Path, name: str, *control: str) -> Findings:
    """In a process of its own. A command that fails is a fault."""
    finished = forking.run(SCRIPT, [name, "found.json", *control], cwd=folder)
    if finished.code:
        return Findings(faults=Counter([f"the command failed: {finished.err.strip()[-3000:]}"]))
    found = Findings.from_json(json.loads((folder / "found.json").read_text()))
    if SCENARIOS[name].says not in finished.out:
        found.faults[f"no scenario of its name: the output does not say {SCENARIOS[name].says!r}"] += 1
    return found
