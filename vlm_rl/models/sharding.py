"""A model whose weights are shared out over ranks: each keeps its part of every tensor, from reading the files to the checkpoint.

The layers of the decoder are FSDP2's: each is gathered for its own forward and backward, so every rank must make equally many of them.
All else (embeddings, head, vision tower, connector) is gathered for a phase, inside of `gathered`, and may be used there at will. Adapters
are not shared out: they are small, and each rank has them whole, as under DDP.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar, cast, runtime_checkable
from unittest import mock

import psutil
import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Partial, Shard
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from vlm_rl import ranks
from vlm_rl.masking import pooled
from vlm_rl.models.parts import find_parts

Batch = TypeVar("Batch")
GATHERED_SHARE = 0.5  # of a device's memory, that a whole model may take while responses are sampled


class Sharding:
    """Shares out the weights of models over all ranks, along the first axis of each tensor as FSDP2 does."""

    def __init__(self, *, device: torch.device) -> None:
        self.device = device  # where the parts are computed with
        self.mesh: DeviceMesh = init_device_mesh(device.type, (ranks.num_ranks(),))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, Transformers reads from safetensors only this rank's part of each tensor of a model.

        It does so for DTensors, and has no public place to make them between the model's construction and its loading.
        """
        load = PreTrainedModel._load_pretrained_model

        def load_parts(model: PreTrainedModel, *arguments: object, **more: object) -> object:
            self.share_out(model)
            return load(model, *arguments, **more)

        with mock.patch.object(PreTrainedModel, "_load_pretrained_model", staticmethod(load_parts)):
            yield

    def share_out(self, vlm: nn.Module) -> None:
        """Keep this rank's part of each tensor, on the device; what `reading` has read is such a part already."""
        known: dict[nn.Parameter, nn.Parameter] = {}  # a tied tensor stays one
        for module in vlm.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter not in known:
                    known[parameter] = self._part(parameter)
                if parameter is not None:
                    module._parameters[name] = known[parameter]

    def _part(self, parameter: nn.Parameter) -> nn.Parameter:
        if isinstance(parameter, DTensor):
            local = parameter.to_local()
        elif parameter.ndim == 0:  # FSDP2 has no parts of a single number
            return parameter
        else:
            chunks, place = parameter.data.chunk(self.mesh.size()), self.mesh.get_local_rank()
            local = chunks[place].clone() if place < len(chunks) else parameter.data[:0].clone()
        on_device = local if local.is_meta else local.to(self.device)
        part = DTensor.from_local(
            on_device, self.mesh, [Shard(0)], run_check=False, shape=parameter.shape, stride=parameter.stride()
        )
        return nn.Parameter(part, requires_grad=parameter.requires_grad)

    def wrap(self, vlm: PreTrainedModel) -> "ShardedModel":
        """Hand the decoder's layers to FSDP2; call it when adapters are attached and dtypes and what is trained are settled."""
        layers, wrapped = decoder_layers(vlm), list[FSDPModule]()
        for layer in layers:
            parts = {name: p for name, p in layer.named_parameters() if isinstance(p, DTensor)}
            for name, part in parts.items():
                path, _, own = name.rpartition(".")
                empty = torch.empty(part.shape, dtype=part.dtype, device="meta")
                layer.get_submodule(path)._parameters[own] = nn.Parameter(empty, requires_grad=part.requires_grad)
            adapters = {p for p in layer.parameters() if not p.is_meta}
            # Sharded again after each forward: else a pass without gradients would leave trained tensors gathered, and the
            # optimizer and the gradient's norm would hold parts that nobody computes with.
            made = fully_shard(layer, mesh=self.mesh, reshard_after_forward=True, ignored_params=adapters)
            made.set_gradient_divide_factor(1.0)  # the loss is a sum over ranks already
            made.set_force_sum_reduction_for_comms(True)
            wrapped.append(made)
            layer.load_state_dict(parts, strict=False, assign=True)
        for decoder in _parents(vlm, layers):
            of_layers = {p for layer in layers for p in layer.parameters()}
            fully_shard(decoder, mesh=self.mesh, ignored_params={*decoder.parameters()} - of_layers)
        vlm.enable_input_require_grads()  # a backward passes through all layers on every rank, whatever its rows need
        return ShardedModel(vlm, layers=wrapped)

    def unwrapped_copy(self, vlm: PreTrainedModel) -> PreTrainedModel:
        """A frozen copy of a wrapped model, with parts of the same tensors; it needs a `wrap` of its own."""
        with torch.device("meta"):
            copy: PreTrainedModel = type(vlm)(vlm.config).requires_grad_(False).eval()
        known: dict[nn.Parameter, nn.Parameter] = {}
        for path, module in copy.named_modules():
            own = vlm.get_submodule(path)
            for name, parameter in own._parameters.items():
                if parameter is not None and parameter not in known:
                    known[parameter] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                if parameter is not None:
                    module._parameters[name] = known[parameter]
            module._buffers = {name: None if b is None else b.clone() for name, b in own._buffers.items()}
        return copy


@runtime_checkable
class Layout(Protocol):
    """What a rank has of a model: all of it (WholeModel in policy.py) or a part (ShardedModel)."""

    is_shared_out: bool  # each rank has only a part of the weights
    trains_parts: bool  # each rank has only a part of what is trained; adapters every rank has whole

    def gathered(self) -> AbstractContextManager[None]:
        """Around forwards: all but the layers, which gather themselves, is whole. Behind, its gradients are sums over ranks. Every
        rank must enter it."""

    def whole(self) -> AbstractContextManager[None]:
        """Around forwards without gradients, of which each rank may make as many as it likes. Every rank must enter it."""

    def in_step(self, batches: Iterable[Batch], read_nothing: Callable[[], None]) -> Iterator[Batch]:
        """The batches of this rank; behind them `read_nothing` as often as other ranks have more. Every rank must call this."""


class ShardedModel:
    """A model of which this rank has a part; its layers gather themselves, all else is gathered for a phase."""

    is_shared_out = True

    def __init__(self, vlm: PreTrainedModel, *, layers: Sequence[FSDPModule]) -> None:
        self._layers, self._is_gathered, self._is_whole = layers, False, False
        self.trains_parts = any(isinstance(p, DTensor) for p in vlm.parameters() if p.requires_grad)
        of_layers = {id(module) for layer in layers for module in cast(nn.Module, layer).modules()}
        self._places = [
            (module, name)
            for module in vlm.modules()
            for name, parameter in module._parameters.items()
            if id(module) not in of_layers and isinstance(parameter, DTensor)
        ]

    def in_step(self, batches: Iterable[Batch], read_nothing: Callable[[], None]) -> Iterator[Batch]:
        """So all ranks make equally many forwards."""
        own = [*batches]
        missing = max(ranks.gathered(len(own))) - len(own)
        yield from own
        for _ in range(missing):
            read_nothing()

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """A tensor after the other, once for all forwards inside."""
        if self._is_gathered:
            yield
            return
        parts = {(module, name): module._parameters[name] for module, name in self._places}
        whole = {part: _gathered(part) for part in parts.values()}
        self._is_gathered = True
        self._put({place: whole[part] for place, part in parts.items()})
        try:
            yield
            _add_up(whole)
        finally:
            self._put(parts)
            self._is_gathered = False

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """The layers, too, are gathered before the first forward."""
        if self._is_whole:
            yield
            return
        with self.gathered():
            self._is_whole = True
            for layer in self._layers:
                layer.set_reshard_after_forward(False)
                layer.unshard()
            try:
                yield
            finally:
                self._is_whole = False
                for layer in self._layers:
                    layer.reshard()
                    layer.set_reshard_after_forward(True)

    @staticmethod
    def _put(parameters: Mapping[tuple[nn.Module, str], nn.Parameter]) -> None:
        for (module, name), parameter in parameters.items():
            module._parameters[name] = parameter


def check_room(vlm: PreTrainedModel, *, num_local_ranks: int) -> None:
    """Raise ValueError where a model that is shared out is too large to be gathered on each rank, as the embedded engine needs it."""
    if not any(isinstance(parameter, DTensor) for parameter in vlm.parameters()):
        return
    needed = sum(parameter.nbytes for parameter in vlm.parameters())
    is_on_gpu = vlm.device.type == "cuda"
    room = torch.cuda.mem_get_info(vlm.device)[1] if is_on_gpu else psutil.virtual_memory().total // num_local_ranks
    if needed > GATHERED_SHARE * room:
        raise ValueError(
            f"trainer.strategy=fsdp2 with rollout=huggingface: to sample, each rank would gather all {needed / 2**30:.1f} GiB of weights, "
            f"more than half of the {room / 2**30:.1f} GiB that it has. Sample by servers (rollout=vllm; docs/rollout.md)."
        )


def _gathered(part: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(cast(DTensor, part.detach()).full_tensor(), requires_grad=part.requires_grad)


def _add_up(whole: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """The gradients of gathered tensors, added up over ranks, become those of their parts; a rank without rows adds zeros."""
    trained = [(part, full) for part, full in whole.items() if full.requires_grad]
    if not trained:
        return
    has_gradient = pooled(trained[0][1].new_tensor([full.grad is not None for _, full in trained]))
    for (part, full), count in zip(trained, has_gradient.tolist(), strict=True):
        if count:
            gradient = torch.zeros_like(full) if full.grad is None else full.grad
            layout = cast(DTensor, part)
            summed = DTensor.from_local(gradient, layout.device_mesh, [Partial()], run_check=False)
            part.grad = summed.redistribute(placements=layout.placements)


def _parents(vlm: PreTrainedModel, layers: Sequence[nn.Module]) -> list[nn.Module]:
    """The modules that run the layers: with them FSDP2 gathers a layer while the one before it computes."""
    lists = [m for m in vlm.modules() if isinstance(m, nn.ModuleList) and {*m} & {*layers}]
    return [m for m in vlm.modules() if any(child in lists for child in m.children())]


def decoder_layers(vlm: PreTrainedModel) -> list[nn.Module]:
    """The layers that the language part runs one after the other."""
    language = find_parts(vlm).language
    inside = [(path, m) for path, m in vlm.named_modules() if isinstance(m, GradientCheckpointingLayer)]
    return [m for path, m in inside if any(path.startswith(root + ".") for root in language)]
