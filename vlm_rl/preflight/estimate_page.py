"""What `preflight=true` says of memory and time."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from vlm_rl.preflight.data_page import titled
from vlm_rl.preflight.device import Device
from vlm_rl.preflight.memory import MemoryEstimate
from vlm_rl.preflight.time_estimate import Range, TimeEstimate

MIB, GIB = 2**20, 2**30
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


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
    """A range for each phase of a generation step, and for the run."""
    table = titled("Time of a generation step", "phase", "short responses", "long ones, waste")
    for name, spent in {**estimate.phases, "in all": estimate.step}.items():
        table.add_row(name, in_words(spent.low), in_words(spent.high))
    yield table
    yield f"An evaluation: {_from_to(estimate.evaluation)}. The whole run, evaluations included: {_from_to(estimate.run)}."


def _from_to(spent: Range) -> str:
    return f"{in_words(spent.low)} to {in_words(spent.high)}"


def size(num_bytes: int) -> str:
    """14.2 GiB, or 8.1 MiB of less than one."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.1f} MiB"


def in_words(seconds: float) -> str:
    """Two digits of the largest unit that fits: 0.012 s, 1.5 min, 3.0 h, 2.1 d."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.2g} s"
