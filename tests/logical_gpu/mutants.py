"""Takes away each place of moves.py in turn: `python tests/logical_gpu/mutants.py [part of a place]`. About two minutes."""

import sys
import tempfile
import time
from pathlib import Path

import import_paths  # noqa: F401

# isort: split
from forking import Forking
from host_values import ALLOWED, function_of
from logical.findings import Findings
from moves import CAUGHT_BY
from shared_runs import run_scenario


def scenario_of(place: str) -> str:
    """The one that fails without that place."""
    return next(scenario for scenario, places in CAUGHT_BY.items() if place in places)


def caught(found: Findings) -> str | None:
    """What gave it away; None for one that survived."""
    new = [text for text in found.host_values if function_of(text) not in ALLOWED]
    return next(iter([*found.faults, *new]), None)


def main(part: str = "") -> int:
    """Prints a line for each place; how many survived."""
    forking, num_survived = Forking(), 0
    for place in (place for places in CAUGHT_BY.values() for place in places if part in place):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            why = caught(run_scenario(forking, Path(folder), scenario_of(place), place))
        num_survived += why is None
        said = "SURVIVED" if why is None else f"caught: {why.splitlines()[-1]}"
        print(f"{place}\n    {scenario_of(place)}, {time.perf_counter() - begun:.1f} s, {said}", flush=True)
    forking.close()
    return num_survived


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
