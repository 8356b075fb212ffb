"""What the ranks of a run tell each other besides gradients."""

import pyarrow as pa
import torch.distributed as dist


def is_distributed() -> bool:
    """More than this one process."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process among the ranks."""
    return dist.get_rank() if is_distributed() else 0


def num_ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def gather_table(table: pa.Table) -> pa.Table:
    """The rows of all ranks, rank after rank, on every rank."""
    if not is_distributed():
        return table
    tables: list[pa.Table] = [None] * num_ranks()
    dist.all_gather_object(tables, table)
    return pa.concat_tables(tables)
