"""Device hours as they are charged: runs that share a machine without accelerators share each of its hours, which counts once."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vlm_rl.reports.reading.arms import Records, RunRecords
from vlm_rl.reports.reading.files import Record, number

STEPS = (
    "time/step1_data_flow",
    "time/step2_response_collection",
    "time/step3_trajectory_generation",
    "time/step4_policy_update",
    "time/evaluation",
)
NO_GPU = "no GPU"  # how the words on a machine end that has none

Hours = Mapping[Path, float]  # by run folder; NaN where the time or the number of devices is not known


@dataclass(frozen=True, kw_only=True)
class Span:
    """A run at work on one machine, in seconds since 1970."""

    run: Path
    begin: float
    end: float


def charged_hours(records: Records) -> Hours:
    """Of each run of a report. On a machine without accelerators each moment is split evenly between the runs that ran then.

    Times of day are those of the manifests' starts; a run that lacks them, or that had accelerators, is charged for itself.
    """
    runs = [run for arm in records.arms for run in arm.runs]
    hours = {run.run.path: device_hours(run) for run in runs}
    by_host: dict[str, list[Span]] = defaultdict(list)
    for run in runs:
        if is_on_whole_machine(run) and run.run.starts and not math.isnan(hours[run.run.path]):
            for host, span in _spans(run):
                by_host[host].append(span)
    shared = defaultdict[Path, float](float)
    for spans in by_host.values():
        for run_path, seconds_of_run in _split(spans):
            shared[run_path] += seconds_of_run / 3600
    return hours | shared


def is_on_whole_machine(run: RunRecords) -> bool:
    """Whether its device is one machine without accelerators."""
    trainer = run.run.config.get("trainer", {})
    is_on_cpu = run.run.machine.endswith(NO_GPU) or trainer.get("accelerator") == "cpu"
    return is_on_cpu and float(trainer.get("num_nodes") or 1) == 1


def device_hours(run: RunRecords) -> float:
    """seconds x devices x machines / 3600, whatever else ran there; NaN where the config says `auto` and there may be accelerators."""
    if is_on_whole_machine(run):
        return seconds(run) / 3600
    trainer = run.run.config.get("trainer", {})
    devices = trainer.get("devices")
    count = str(len(devices) if isinstance(devices, list) else devices)
    known = float(count) if count.isdigit() else math.nan  # auto and -1: as many as there were
    return seconds(run) * known * float(trainer.get("num_nodes") or 1) / 3600


def seconds(run: RunRecords) -> float:
    """Of the four steps and of evaluation; NaN where nothing was timed."""
    known = [value for name in STEPS if not math.isnan(value := total(run, name=name))]
    return math.fsum(known) if known else math.nan


def total(run: RunRecords, *, name: str) -> float:
    """A quantity summed over a run after training began; missing where the run never measured it."""
    if name not in run.sums:
        own = (line for line in run.cost if _is_own(line, run=run))
        values = [value for line in own if not math.isnan(value := number(line, key=name))]
        run.sums[name] = math.fsum(values) if values else math.nan
    return run.sums[name]


def _is_own(line: Record, *, run: RunRecords) -> bool:
    """Whether a line of cost.jsonl is not that of the evaluation of the vanilla model."""
    return number(line, key="generation_steps") > 0 or run.run.is_evaluated_only


def _spans(run: RunRecords) -> Iterator[tuple[str, Span]]:
    """Host and time of each start: it lasted as long as what was measured of it, after the vanilla model was evaluated."""
    own = [line for line in run.cost if _is_own(line, run=run)]
    vanilla = math.fsum(_seconds_of(line) for line in run.cost if not _is_own(line, run=run))
    firsts = [-math.inf, *(start.generation_steps for start in run.run.starts[1:]), math.inf]
    for place, (start, (first, last)) in enumerate(zip(run.run.starts, pairwise(firsts), strict=True)):
        begin = start.time + (vanilla if place == 0 else 0)
        lasted = math.fsum(_seconds_of(line) for line in own if first < number(line, key="generation_steps") <= last)
        yield start.host, Span(run=run.run.path, begin=begin, end=begin + lasted)


def _seconds_of(line: Record) -> float:
    return math.fsum(value for name in STEPS if not math.isnan(value := number(line, key=name)))


def _split(spans: Sequence[Span]) -> Iterator[tuple[Path, float]]:
    """Seconds of one machine for each run: every moment divided by the runs at work then."""
    edges = sorted({edge for span in spans for edge in (span.begin, span.end)})
    for begin, end in pairwise(edges):
        running = [span.run for span in spans if span.begin <= begin and end <= span.end]
        yield from ((run, (end - begin) / len(running)) for run in running)
