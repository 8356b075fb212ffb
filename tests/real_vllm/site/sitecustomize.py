"""Read at the start of each process of the server: torchvision is a build for CUDA, and names operators that a torch for CPUs lacks."""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence

OPERATORS = ("nms", "qnms")


class Declared(importlib.abc.MetaPathFinder):
    """Declares the operators just before torchvision is imported for the first time, and finds nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None, always."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator in OPERATORS:
                torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, Declared())
