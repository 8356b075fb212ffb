"""The project on a real GPU, in at most nine minutes and without network: `python benchmarks/gpu.py [--out FOLDER]` (`make gpu`).

    commands           smoke, resume and evaluate.py on the shipped tiny model, as a user types them
    synchronisations   how often the host waits for the device
    step-3B, step-7B   one generation step of a Qwen2.5-VL shape with random weights, twice: seconds, memory, bits
    trl-3B, trl-7B     the same step by TRL's GRPOTrainer; left out where TRL is not installed
    estimate-3B, -7B   the preflight's memory of that step, on the CPU beside the others

Each part has a process and a time budget of its own. gpu.json holds everything, gpu.md the tables for docs/performance.md, gpu.log
what the parts printed. `--sizes toy --device cpu` runs the whole path on the CPU. Exit codes: 0, 1 where a part failed or ran
out of its time, 2 without a GPU.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_commands import STAGES, measure_commands
from gpu_device import device_of
from gpu_notes import DONE, SKIPPED, Part, carry_out
from gpu_page import page
from gpu_runner import Outcomes, Runner
from gpu_sizes import MODELS, Setting
from gpu_step import ESTIMATE, FIRST, SECOND, estimate, measure_step
from gpu_synchronisations import CLEAN, SAMPLING, UPDATE, measure_synchronisations
from gpu_trl import TIMED, measure_trl

ROOT = Path(__file__).parents[1]
SECONDS = {"commands": 120, "synchronisations": 35, "step-3B": 95, "step-7B": 105, "trl-3B": 75, "trl-7B": 85}  # 515 in all
SECONDS_TOY = 300  # of each part, on a CPU that others use too
SECONDS_BESIDE = 500  # the estimates need no GPU and must be there at the end
NO_GPU = "No GPU is to be had here: torch.cuda.is_available() is False. --device cpu --sizes toy runs the same path on the CPU."


def parts_of(sizes: str) -> list[Part]:
    """In the order in which they run."""

    def part(name: str, measure: Any, stages: Sequence[str], *, beside: bool = False) -> Part:
        budget = SECONDS_BESIDE if beside else SECONDS.get(name, SECONDS_TOY) if sizes == "real" else SECONDS_TOY
        return Part(name=name, measure=measure, stages=tuple(stages), budget=budget, beside=beside)

    names = [case.name for case in MODELS[sizes]]
    return [
        *(part(f"estimate-{name}", partial(estimate, model=name), (ESTIMATE,), beside=True) for name in names),
        part("commands", measure_commands, STAGES),
        part("synchronisations", measure_synchronisations, (SAMPLING, UPDATE, CLEAN)),
        *(part(f"step-{name}", partial(measure_step, model=name), (FIRST, SECOND)) for name in names),
        *(part(f"trl-{name}", partial(measure_trl, model=name), (TIMED,)) for name in names),
    ]


def environment() -> dict[str, str]:
    """Of all parts: no network, this folder's package, one GPU."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": visible}


def report_of(outcomes: Outcomes, *, options: argparse.Namespace, begun: float) -> dict[str, Any]:
    """Everything that is known."""
    machines = [found["machine"] for found in outcomes.values() if found["machine"]]
    return {
        "machine": machines[0] if machines else {},
        "sizes": options.sizes,
        "device": options.device,
        "seconds": time.monotonic() - begun,
        "models": [case.name for case in MODELS[options.sizes]],
        "parts": {name: {key: value for key, value in found.items() if key != "machine"} for name, found in outcomes.items()},
    }


def write(report: dict[str, Any], folder: Path) -> None:
    """gpu.json and gpu.md."""
    (folder / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "gpu.md").write_text(page(report), encoding="utf-8")


def run_all(options: argparse.Namespace) -> int:
    """All parts in processes of their own; writes after each, so that an interruption loses little."""
    begun = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.log").write_text("", encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        for case in MODELS[options.sizes]:
            Setting(sizes=options.sizes, device=device_of(options.device), work=work).case(
                case.name
            )  # written before all need it

        def command(part: Part, file: Path) -> list[str]:
            words = ["--part", part.name, "--sizes", options.sizes, "--device", options.device]
            return [sys.executable, __file__, *words, "--work", str(work), "--notes", str(file)]

        runner = Runner(command=command, work=work, log=options.out / "gpu.log", environment=environment())
        parts = [part for part in parts_of(options.sizes) if options.only is None or part.name in options.only]
        outcomes = runner.run(parts, told=lambda found: write(report_of(found, options=options, begun=begun), options.out))
    print(f"Left in {options.out}: gpu.json, gpu.md, gpu.log ({time.monotonic() - begun:.0f} s)", flush=True)
    return 0 if all(found["state"] in (DONE, SKIPPED) for found in outcomes.values()) else 1


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for gpu.json, gpu.md and gpu.log")
    parser.add_argument("--sizes", choices=sorted(MODELS), default="real")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts alone, as step-3B")
    for name in ("--part", "--work", "--notes"):  # of a process that this script starts
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    known = {part.name for part in parts_of(options.sizes)}
    if unknown := sorted({*(options.only or ())} - known):
        parser.error(
            f"--only {' '.join(unknown)}: no such part with --sizes {options.sizes}; there are {', '.join(sorted(known))}."
        )
    return options


def main(words: Sequence[str]) -> int:
    """Returns the exit code."""
    options = options_of(words)
    if options.part is not None:
        part = next(part for part in parts_of(options.sizes) if part.name == options.part)
        setting = Setting(sizes=options.sizes, device=device_of(options.device), work=Path(options.work))
        carry_out(part, setting, Path(options.notes))
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the parts are stopped on the way out
    return run_all(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
