"""What `preflight=true` says of memory and time."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from vlm_rl.preflight.data_page import Verdict, titled
from vlm_rl.preflight.device import Device
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.time_estimate import SHARES, SLOWER, Seconds, TimeEstimate

MIB, GIB = 2**20, 2**30
UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
TIGHT = 0.9  # of what is free: from here on what is not counted may decide
SHARE_NAMES = {0.25: "a quarter", 0.5: "half", 1.0: "all"}


def memory_table(phases: Sequence[Phase], *, device: Device) -> Table:
    """A line for each phase: all that is alive at its peak, what most of it is, and what makes that smaller."""
    table = titled(
        f"Memory at the peak of each phase ({device.name}: {size(device.free_bytes)} free)",
        *("phase", "all", "of this phase", "most of it", "smaller by"),
        words_last=2,
    )
    for phase in phases:
        most = f"{phase.dominant} ({size(phase.parts[phase.dominant])})"
        table.add_row(phase.name, size(phase.total), size(phase.total - phase.resident), most, phase.smaller_by)
    return table


def not_counted(device: Device) -> str:
    """What comes on top of the table."""
    if device.on_gpu:
        return "Not counted: the CUDA context (about 0.5 GiB), the work space of libraries and the gaps of the allocator."
    return "Not counted: the libraries themselves (about 1 GiB), their work space and the gaps of the allocator."


def judge_room(phases: Sequence[Phase], *, device: Device, verdict: Verdict) -> Iterator[str]:
    """Too little memory is a problem where it is the run's own device; a note where that device was not named."""
    largest, free = max(phases, key=lambda phase: phase.total), size(device.free_bytes)
    too_large = (
        f"It would not fit: phase {largest.name!r} needs {size(largest.total)}, of which {largest.dominant} is the most, and "
        f"{device.name} has {free} free. Smaller by {largest.smaller_by}."
    )
    if largest.total > device.free_bytes and device.is_certain:
        verdict.problems.append(too_large)
    elif largest.total > device.free_bytes:
        verdict.reservations.append("it would not fit this machine's CPU, and on which device it is to run was not said")
        yield (
            f"{too_large} These are figures of this machine's CPU, which has no GPU beside it: preflight.device_memory=80GiB compares "
            "with the device that the run is meant for."
        )
    elif largest.total > TIGHT * device.free_bytes:
        share = f"{largest.total / device.free_bytes:.0%} of the {free} that are free"
        verdict.reservations.append(f"memory would be tight: phase {largest.name!r} needs {share}, and not all is counted")


def time_lines(estimate: TimeEstimate) -> Iterator[RenderableType]:
    """Three cases for each phase of a generation step, and for the run."""
    speeds = ["full speed" if slower == 1 else f"1/{slower:g} of it" for slower in SLOWER]
    cases = [f"{SHARE_NAMES[share]}, {speed}" for share, speed in zip(SHARES, speeds, strict=True)]
    table = titled("Time of a generation step", "phase", *cases)
    for name, seconds in {**estimate.phases, "in all": estimate.step}.items():
        table.add_row(name, *map(in_words, seconds))
    yield table
    yield (
        "Responses of so much of dataset.max_new_tokens, at this device's full speed, which no run reaches, or at a part of it. "
        f"An evaluation: {_from_to(estimate.evaluation)}. The whole run, evaluations included: {_from_to(estimate.run)}."
    )


def _from_to(seconds: Seconds) -> str:
    low, middle, high = map(in_words, seconds)
    return f"{low} to {high}, {middle} between"


def size(num_bytes: int) -> str:
    """14.2 GiB, or 8.1 MiB of less than one."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.1f} MiB"


def in_words(seconds: float) -> str:
    """Two digits of the largest unit that fits: 0.012 s, 1.5 min, 3.0 h, 2.1 d."""
    return next((f"{seconds / unit:.1f} {name}" for unit, name in UNITS if seconds >= unit), f"{seconds:.2g} s")
