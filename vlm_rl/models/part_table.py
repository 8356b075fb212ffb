"""What is trained, as a person reads it before training begins."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from vlm_rl.models.parts import PartSize

_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_NUMBERS = ("parameters", "trainable", "learning rate")


def part_table(rows: Sequence[PartSize], *, rates: Mapping[str, float]) -> Table:
    """A line for each part and one for their sum; `rates` of the trained parts, before the algorithm's factor."""
    tied = any(row.tied for row in rows)
    note = "LM head and embeddings are one tied tensor, counted once." if tied else None
    table = Table(title="What is trained", caption=note)
    for column in ("part", "state", "parameters", "trainable", "precision", "learning rate"):
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        rate = f"{rates[row.part]:.2g}" if row.part in rates else "-"
        precision = " + ".join(_SHORT.get(dtype, dtype) for dtype in row.dtypes)
        table.add_row(row.part, row.state, f"{row.total:,}", f"{row.trainable:,}", precision, rate)
    total, trainable = sum(row.total for row in rows), sum(row.trainable for row in rows)
    table.add_section()
    table.add_row("all", f"{100 * trainable / total:.2f} %", f"{total:,}", f"{trainable:,}", "", "")
    return table
