"""How long a report takes and how much memory, on a generated study: `python benchmarks/report_scale.py [--scale 0.01]`.

The study (report_fixture.py) lies in a temporary folder and is removed afterwards. The report runs as a user runs it, as a
process of its own; memory is that of the process and its children together, looked at ten times a second.

Measured at full size (20 runs of 150 steps of 900 responses and 30 evaluations of 1000 questions x 10 samples: 8,700,000
responses of 306 characters on average, 0.87 GB on disk) on 2 cores (Linux x86-64, 24 GiB): 38.4 s, 45.1 CPU seconds, 0.50 GB at
most. Making the study took 11 s.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from report_fixture import Size, files_of, write_fixture

REPORT = Path(__file__).parents[1] / "report.py"
SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one report took."""

    seconds: float  # wall clock
    cpu_seconds: float  # of all threads: on a busy machine the better figure
    peak_bytes: int  # resident, process and children together


def measure_report(study: Path, *, out: Path) -> Measured:
    """Make the report on a study in a process of its own."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    command = [sys.executable, str(REPORT), f"studies=[{study}]", f"report.out={out}"]
    with subprocess.Popen(command, cwd=REPORT.parent) as process:
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise SystemExit(f"The report ended with exit code {process.returncode}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds=time.monotonic() - start, cpu_seconds=cpu, peak_bytes=peak)


def resident_bytes(pid: int) -> int:
    """Of a process and all its children, as far as they still live."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    """Print the size of the study on disk and what its report took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--folder", type=Path, help="where there is room: the full size takes 0.9 GB")
    arguments = parser.parse_args()
    size = Size().scaled(arguments.scale)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="report-scale-") as folder:
        start = time.monotonic()
        study = write_fixture(Path(folder) / "study", size=size)
        num_bytes = sum(file.stat().st_size for file in files_of(study))
        print(
            f"{size}: {size.num_texts:,} responses, {num_bytes / 1e9:.3f} GB, made in {time.monotonic() - start:.0f} s",
            flush=True,
        )
        measured = measure_report(study, out=Path(folder) / "report")
    load = os.getloadavg()[0]
    print(
        f"report: {measured.seconds:.1f} s, {measured.cpu_seconds:.1f} CPU seconds, "
        f"{measured.peak_bytes / 1e9:.2f} GB at most (load of the machine {load:.1f})"
    )


if __name__ == "__main__":
    main()
