"""Image features of a prompt: computed once for all forwards while the vision tower is frozen, and cached by image content.

Features go into the model through Transformers' `mm_encoder_outputs`, deep-stack features included, so no family is named here. A
family without that way in gets its pixels at every forward.
"""

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlm_rl.models.family import arguments
from vlm_rl.types import ImageFeatures, ImageInput

CARRIED = frozenset({"pooler_output", "deepstack_features"})  # of a tower's output, what goes into the decoder
NOT_READ = frozenset({"last_hidden_state", "hidden_states", "attentions"})  # what the decoder does not ask for


def takes_features(vlm: PreTrainedModel) -> bool:
    """Whether the model accepts features that were made before, as far as its code declares; `features_of` knows for sure."""
    encode = getattr(vlm.model, "get_image_features", None)
    if encode is None or "mm_encoder_outputs" not in inspect.signature(vlm.model.forward).parameters:
        return False
    declared = inspect.signature(encode).return_annotation
    outputs = [kind for kind in (*get_args(declared), declared) if isinstance(kind, type) and is_dataclass(kind)]
    return all({field.name for field in fields(kind)} <= CARRIED | NOT_READ for kind in outputs)


def features_of(vlm: PreTrainedModel, images: ImageInput) -> ImageFeatures | None:
    """The images of one prompt through tower and connector; with gradients unless switched off.

    None where the tower returns something that cannot be handed back in: then the model gets its pixels at every forward.
    """
    assert images.inputs is not None
    inputs = arguments(vlm.model.get_image_features, _on_device_of(vlm, images.inputs))
    output = vlm.model.get_image_features(**inputs, return_dict=True)
    others = [name for name, value in vars(output).items() if value is not None and name not in CARRIED | NOT_READ]
    pooled = output.pooler_output
    deep = getattr(output, "deepstack_features", None)
    if others or not _are_tensors(pooled) or not all(map(_are_tensors, () if deep is None else deep)):
        return None
    return ImageFeatures(
        pooled=pooled if isinstance(pooled, Tensor) else tuple(pooled),
        deepstack=None if deep is None else tuple(tuple(layer) for layer in deep),
    )


def _are_tensors(value: object) -> bool:
    """One tensor, or a row of them, one for each image."""
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and all(isinstance(item, Tensor) for item in value))


def joined(features: Sequence[ImageFeatures]) -> BaseModelOutputWithPooling:
    """The features of several prompts, on one device, as the model's own tower would have returned them for all their images."""
    pooled = [f.pooled for f in features]
    tensors = [p for p in pooled if isinstance(p, Tensor)]
    whole = torch.cat(tensors) if tensors else tuple(image for images in pooled for image in images)
    output = BaseModelOutputWithPooling(pooler_output=whole)
    if features[0].deepstack is not None:
        layers = zip(*(f.deepstack for f in features if f.deepstack is not None), strict=True)
        output.deepstack_features = [tuple(image for images in layer for image in images) for layer in layers]
    return output


def pixels(vlm: PreTrainedModel, images: Sequence[ImageInput]) -> dict[str, object]:
    """The processor's outputs of several prompts as one, padded with zeros where sizes differ."""
    inputs = [_on_device_of(vlm, image.inputs) for image in images if image.inputs is not None]
    return arguments(vlm.model.forward, {name: _concatenated([values[name] for values in inputs]) for name in inputs[0]})


def in_dtype_of(vlm: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pixels in the dtype of the weights, half the memory in bfloat16; counts, masks and ids stay."""
    return {name: value.to(vlm.dtype) if value.is_floating_point() else value for name, value in inputs.items()}


def _on_device_of(vlm: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(vlm.device) for name, value in inputs.items()}


def _concatenated(values: Sequence[Tensor]) -> Tensor:
    widest = torch.tensor([value.shape[1:] for value in values]).amax(0).tolist()
    padded = []
    for value in values:
        missing = [room for size, wide in zip(value.shape[:0:-1], widest[::-1], strict=True) for room in (0, wide - size)]
        padded.append(torch.nn.functional.pad(value, missing))
    return torch.cat(padded)


class VisionCache:
    """Features of images by their content, up to a number of bytes: the least recently used go first. With 0 bytes nothing is kept."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._features: OrderedDict[str, ImageFeatures] = OrderedDict()

    def get(self, key: str) -> ImageFeatures | None:
        """The features of a prompt's images, or None if they have to be made."""
        if key in self._features:
            self._features.move_to_end(key)
        return self._features.get(key)

    def put(self, key: str, features: ImageFeatures) -> None:
        """Keeps the features, which are on the CPU, while there is room."""
        if key in self._features or features.nbytes > self._max_bytes:
            return
        self._features[key] = features
        self._bytes += features.nbytes
        while self._bytes > self._max_bytes:
            _, evicted = self._features.popitem(last=False)
            self._bytes -= evicted.nbytes
