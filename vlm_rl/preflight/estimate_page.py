"""What `preflight=true` says of memory and time."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from vlm_rl.preflight.data_page import Verdict, titled
from vlm_rl.preflight.device import Device
from vlm_rl.preflight.memory import MemoryEstimate
from vlm_rl.preflight.time_estimate import CASES, Range, TimeEstimate

MIB, GIB = 2**20, 2**30
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
TIGHT = 0.9  # of what is free: from here on what is not counted may decide
SHARES = {0.25: "a quarter", 0.5: "half", 1.0: "all"}


def memory_table(estimate: MemoryEstimate, *, device: Device) -> Table:
    """A line for each phase: all that is alive at its peak, what most of it is, and what makes that smaller."""
    table = titled(
        f"Memory at the peak of each phase ({device.name}: {size(device.free_bytes)} free)",
        *("phase", "all", "of this phase", "most of it", "smaller by"),
    )
    for column in table.columns[3:]:
        column.justify = "left"
    for phase in estimate.phases:
        most = f"{phase.dominant} ({size(phase.parts[phase.dominant])})"
        table.add_row(phase.name, size(phase.total), size(phase.transient), most, phase.smaller_by)
    return table


def not_counted(device: Device) -> str:
    """What comes on top of the table."""
    if device.on_gpu:
        return "Not counted: the CUDA context (about 0.5 GiB), the work space of libraries and the gaps of the allocator."
    return "Not counted: the libraries themselves (about 1 GiB), their work space and the gaps of the allocator."


def judge_room(estimate: MemoryEstimate, *, device: Device, verdict: Verdict) -> Iterator[str]:
    """Too little memory is a problem where it is the run's own device; where nobody said which one that is, a note."""
    largest, told = estimate.largest, too_large(estimate, device=device)
    if told and device.is_certain:
        verdict.problems.append(told)
    elif told:
        verdict.reservations.append("it would not fit this machine's CPU, and on which device it is to run was not said")
        yield (
            f"{told} These are figures of this machine's CPU, which has no GPU beside it: preflight.device_memory=80GiB compares "
            "with the device that the run is meant for."
        )
    elif largest.total > TIGHT * device.free_bytes:
        share = f"{largest.total / device.free_bytes:.0%} of the {size(device.free_bytes)} that are free"
        verdict.reservations.append(f"memory would be tight: phase {largest.name!r} needs {share}, and not all is counted")


def too_large(estimate: MemoryEstimate, *, device: Device) -> str | None:
    """Why the run would not fit, None where it would."""
    largest = estimate.largest
    if largest.total <= device.free_bytes:
        return None
    return (
        f"It would not fit: phase {largest.name!r} needs {size(largest.total)}, of which {largest.dominant} is the most, and "
        f"{device.name} has {size(device.free_bytes)} free. Smaller by {largest.smaller_by}."
    )


def time_lines(estimate: TimeEstimate) -> Iterator[RenderableType]:
    """Three cases for each phase of a generation step, and for the run."""
    table = titled("Time of a generation step", "phase", *(_case(share, slower) for share, slower in CASES))
    for name, spent in {**estimate.phases, "in all": estimate.step}.items():
        table.add_row(name, *map(in_words, (spent.low, spent.middle, spent.high)))
    yield table
    yield (
        "Responses of so much of dataset.max_new_tokens, at this device's full speed, which no run reaches, or at a part of it. "
        f"An evaluation: {_from_to(estimate.evaluation)}. The whole run, evaluations included: {_from_to(estimate.run)}."
    )


def _case(share: float, slower: float) -> str:
    return f"{SHARES[share]}, full speed" if slower == 1 else f"{SHARES[share]}, 1/{slower:g} of it"


def _from_to(spent: Range) -> str:
    return f"{in_words(spent.low)} to {in_words(spent.high)}, {in_words(spent.middle)} between"


def size(num_bytes: int) -> str:
    """14.2 GiB, or 8.1 MiB of less than one."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.1f} MiB"


def in_words(seconds: float) -> str:
    """Two digits of the largest unit that fits: 0.012 s, 1.5 min, 3.0 h, 2.1 d."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.2g} s"
