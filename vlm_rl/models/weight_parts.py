"""Tensors that are shared out over ranks, on the disk: each rank writes its part as safetensors, any number of ranks reads them.

PyTorch's distributed checkpoints do it; their format for Hugging Face has no pickle, unlike their own.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from vlm_rl.models.weight_files import check_finite, misfit


def save_parts(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write the parts of this rank. Every rank must call this."""
    save({**tensors}, storage_writer=HuggingFaceStorageWriter(path=str(folder), save_distributed=True))


def load_parts(tensors: Mapping[str, Tensor], folder: Path, *, way_out: str) -> None:
    """Fill tensors, or this rank's parts of them, in place. Raise ValueError where the files have others; each rank reads for itself."""
    saved = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta") for name, entry in _entries(folder).items()
    }
    misfit(saved, needed=tensors).check(str(folder), way_out=way_out)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        load({**tensors}, storage_reader=HuggingFaceStorageReader(path=str(folder)), no_dist=True)
    check_finite(str(folder), tensors, way_out=way_out)


def dtypes_of_parts(folder: Path) -> dict[str, torch.dtype]:
    """What each tensor was saved in."""
    return {name: entry.properties.dtype for name, entry in _entries(folder).items()}


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All that a file of the module would hold, a tied tensor once."""
    named = module.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: tensor.detach() for name, tensor in named.items() if first[id(tensor)] == name}


def _entries(folder: Path) -> dict[str, TensorStorageMetadata]:
    found = HuggingFaceStorageReader(path=str(folder)).read_metadata().state_dict_metadata
    return {name: entry for name, entry in found.items() if isinstance(entry, TensorStorageMetadata)}  # nothing else is written
