"""The policy: a vision-language model with adapters. The reference is the same model with the adapters switched off."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from vlm_rl import ranks
from vlm_rl.models import family, parts, vision
from vlm_rl.models.adapters import multiply_under_autocast
from vlm_rl.models.folder_files import WEIGHTS
from vlm_rl.models.loading import check_weights, load_model, load_processor
from vlm_rl.models.logprobs import TokenStatistics, policy_logprobs, token_statistics
from vlm_rl.models.optimization import Optimization
from vlm_rl.models.precision import Quantization, checkpoint_activations, declare, precision
from vlm_rl.models.prompt_sharing import PromptSharing, own_states, shared_states
from vlm_rl.models.reference import FrozenCopy, frozen_copy
from vlm_rl.models.sharding import Layout, Sharding
from vlm_rl.models.template_arguments import check_arguments
from vlm_rl.models.trained_weights import WAY_OUT, load_adapter, load_whole
from vlm_rl.models.weight_parts import load_parts, save_parts, tensors_of
from vlm_rl.types import ImageFeatures, ImageInput, Images, Samples

Batch = TypeVar("Batch")


class WholeModel:
    """The layout of a model that each rank has whole: there is nothing to gather, and no rank waits for forwards of others."""

    is_shared_out = trains_parts = False

    def gathered(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to do."""
        return nullcontext()

    whole = gathered

    def in_step(self, batches: Iterable[Batch], read_nothing: Callable[[], None]) -> Iterator[Batch]:
        """The batches, as they come."""
        yield from batches


class Policy(nn.Module):
    """The model that samples and learns. Its distribution is softmax(logits / temperature) over the allowed ids."""

    banned: Tensor
    layout: Layout = WholeModel()  # what each rank has of the weights

    def __init__(
        self,
        *,
        name: str,
        untrained: bool,
        dtype: str,
        quantization: Quantization | None = None,
        autocast: bool = False,
        attention: str | Mapping[str, str],
        gradient_checkpointing: bool,
        freeze: Sequence[str],
        lora: parts.Lora | None,
        vision_cache: int,
        processor: Mapping[str, object],
        chat_template: Mapping[str, object] = MappingProxyType({}),
        shared_prompt: bool = True,
        optimization: Optimization,
        temperature: float,
        seed: int,
        sharding: Sharding | None = None,
    ) -> None:
        super().__init__()
        self.name, self.temperature, self.optimization, self.chat_template = name, temperature, optimization, chat_template
        self.version = 0  # generation steps that the weights have learned from
        self.processor: ProcessorMixin = load_processor(name, processor)
        check_arguments(self.processor, chat_template, name=name)
        with contextlib.nullcontext() if sharding is None else sharding.reading():
            vlm = load_model(
                name, untrained=untrained, dtype=dtype, attention=attention, root_seed=seed, quantization=quantization
            )
        if sharding is not None:
            sharding.share_out(vlm)
        self.vlm: PreTrainedModel = vlm
        self.adapter: PeftModel | None = parts.prepare(vlm, freeze=freeze, lora=lora, seed=seed)
        optimization.rates(parts.trained(vlm))  # a rate for what is not trained raises here, before training
        self.precision = precision(vlm, dtype=dtype, autocast=autocast)
        self.precision.even_out(vlm)
        if autocast and self.adapter is not None:
            multiply_under_autocast(self.adapter)
        if gradient_checkpointing:
            checkpoint_activations(vlm)
        self._sharding = sharding
        if sharding is not None:
            self.layout = sharding.wrap(vlm)
            assert self.trained_parameters  # known from now on: inside of `gathered` others stand in the model
        self.takes_features = vision.takes_features(vlm)
        self.vision_is_frozen = not set(parts.trained(vlm)) - {"language"}
        self.vision_cache = self._cache(vision_cache)
        self.sharing = PromptSharing(is_wanted=shared_prompt)
        self._frozen_copy: FrozenCopy | None = None  # no submodule: never trained, never saved
        self.register_buffer("banned", family.banned_ids(vlm, self.processor), persistent=False)

    @property
    def encodes_images_once(self) -> bool:
        """Whether the features of an image stay the same for the whole run, and the model takes them in place of pixels."""
        return self.vision_is_frozen and self.takes_features

    @functools.cached_property
    def trained_parameters(self) -> list[nn.Parameter]:
        """All that the optimizer moves."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def trained_weights(self) -> tuple[Tensor, ...]:
        """A copy of all that the optimizer moves."""
        return tuple(parameter.detach().clone() for parameter in self.trained_parameters)

    @contextlib.contextmanager
    def holding(self, weights: Sequence[Tensor], *, version: int) -> Iterator[None]:
        """Inside, the policy is one of other trained weights, as `trained_weights` gave them."""
        now, number = self.trained_weights(), self.version
        self.take(weights, version=version)
        try:
            yield
        finally:
            self.take(now, version=number)

    @torch.no_grad()
    def take(self, weights: Sequence[Tensor], *, version: int) -> None:
        """Become the policy of other trained weights."""
        for parameter, value in zip(self.trained_parameters, weights, strict=True):
            parameter.copy_(value)
        self.version = version

    @property
    def reference(self) -> PreTrainedModel | None:
        """The frozen copy that `keep_reference` made; None where there is none."""
        return None if self._frozen_copy is None else self._frozen_copy.vlm

    def _cache(self, max_bytes: int) -> vision.VisionCache:
        """A cache of image features. Where features cannot be reused it keeps nothing, and a line is printed."""
        if max_bytes and not self.encodes_images_once:
            unable = f"{type(self.vlm).__name__} takes no ready-made features, or not all that its tower returns"
            why = "vision or connector are trained" if self.takes_features else unable
            print(f"The vision cache is off: {why}, so images are encoded again at every forward.", flush=True)
        return vision.VisionCache(max_bytes=max_bytes if self.encodes_images_once else 0)

    @property
    def stop_ids(self) -> list[int]:
        """All ids that end a response."""
        return family.stop_ids(self.vlm, self.processor)

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        pad = self.processor.tokenizer.pad_token_id
        return int(pad if pad is not None else self.stop_ids[0])

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.banned.device

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Around every forward, LM head included. Inside an outer one, weights are cast once for all forwards in it."""
        return self.precision.forward(self.device)

    def position_ids(self, ids: Tensor, types: Tensor, inputs: Mapping[str, Tensor]) -> Int[Tensor, "axis 1 query"]:
        """The model's own positions of one prompt, given what the processor made of its images."""
        return family.position_ids(self.vlm, ids, types, inputs)

    def _take_pixels(self) -> None:
        """From here on the model gets its pixels at every forward: what its tower returns cannot be handed back in."""
        self.takes_features = False
        self.vision_cache = self._cache(1)

    @torch.no_grad()
    def encode_images(self, images: ImageInput) -> ImageInput:
        """The images of one prompt as features, on the CPU, where vision tower and connector are frozen; else as they are.

        Each prompt is encoded alone, so that no result depends on its neighbours in a batch.
        """
        if not self.encodes_images_once or images.features is not None:
            return images
        with self.autocast():
            made = vision.features_of(self.vlm, images)
        if made is None:
            self._take_pixels()
            return images
        features = made.to("cpu")
        self.vision_cache.put(images.key, features)
        return replace(images, inputs=None, features=features)

    def _image_arguments(self, images: Images) -> dict[str, object]:
        """The images of a batch as arguments of the model: features, made here if the tower is trained, or pixels."""
        shown = [image for image in images if image is not None]
        if not shown:
            return {}
        different = {image.key: image for image in shown}  # a group shows its images many times
        made = {key: self._features(image) for key, image in different.items()} if self.takes_features else {}
        ready = {key: features for key, features in made.items() if features is not None}
        if len(ready) < len(made):
            self._take_pixels()
        if not self.takes_features:
            return vision.pixels(self.vlm, shown)
        return {"mm_encoder_outputs": {"image": vision.joined([ready[image.key] for image in shown])}}

    def _features(self, image: ImageInput) -> ImageFeatures | None:
        return vision.features_of(self.vlm, image) if image.features is None else image.features.to(self.device)

    def hidden(
        self, *, ids: Tensor, mask: Tensor, types: Tensor, positions: Tensor, images: Images, **cache: object
    ) -> Float[Tensor, "batch sequence hidden"]:
        """Last hidden states, before the LM head; `images` has an entry for each row."""
        with self.autocast():
            inputs = self._image_arguments(images) | cache
            if any(images) and (name := family.types_name(self.vlm)) is not None:
                inputs[name] = types
            output = self.vlm.model(
                input_ids=ids,
                attention_mask=mask.long() if mask.ndim == 2 else mask,
                position_ids=positions if positions.shape[0] > 1 else positions[0],
                **inputs,
            )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def in_step(self, batches: Iterable[Batch], *, backward: Callable[[Tensor], None] | None = None) -> Iterator[Batch]:
        """The batches of this rank, each with a forward and a backward. Where the model is shared out, as many forwards of nothing as
        other ranks still make come behind them."""
        return self.layout.in_step(batches, lambda: self._read_nothing(backward))

    def _read_nothing(self, backward: Callable[[Tensor], None] | None) -> None:
        ids = torch.full((1, 2), self.stop_ids[0], device=self.device)
        types, mask = torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool)
        positions = self.position_ids(ids, types, {}).to(self.device)
        hidden = self.hidden(ids=ids, mask=mask, types=types, positions=positions, images=(None,), use_cache=False)
        if backward is not None:
            backward(0 * hidden.float().sum())

    def shared_groups(self, samples: Samples) -> Int[Tensor, " batch"] | None:
        """The groups whose responses share a prompt; None where each has its own copy."""
        if self.layout.is_shared_out:
            self.sharing.try_together(self, samples)
        return samples.groups if self.sharing.is_on(self, samples) else None

    def next_token_logprobs(
        self, hidden: Float[Tensor, "batch hidden"], *, temperature: float | Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch logits"]:
        """The distribution that the engine samples from, by the same function as in training."""
        with self.autocast():
            return policy_logprobs(hidden, head=family.head_of(self.vlm), temperature=temperature, banned=self.banned)

    def statistics(self, samples: Samples) -> TokenStatistics:
        """Log-probability and entropy of each response token, 0 off the mask; log-probabilities with gradients unless switched off."""
        states = shared_states if self.sharing.is_on(self, samples) else own_states
        before, mask = states(self, samples), samples.response_mask
        with self.autocast():
            result = token_statistics(
                before,
                samples.response_ids[mask],
                head=family.head_of(self.vlm),
                temperature=self.temperature,
                banned=self.banned,
            )
        zeros = torch.zeros(mask.shape, device=mask.device)
        return TokenStatistics(
            logprobs=zeros.masked_scatter(mask, result.logprobs), entropy=zeros.masked_scatter(mask, result.entropy)
        )

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """Inside, the policy is the reference: adapters are off, or the frozen copy stands in where there are none."""
        if self.adapter is not None:
            with self.adapter.disable_adapter():
                yield
            return
        if self._frozen_copy is None:
            raise RuntimeError("keep_reference() must be called before full fine-tuning begins.")
        trained = FrozenCopy(vlm=self.vlm, layout=self.layout)
        self.vlm, self.layout = self._frozen_copy.vlm, self._frozen_copy.layout
        try:
            yield
        finally:
            self.vlm, self.layout = trained.vlm, trained.layout

    def keep_reference(self) -> int:
        """Make a frozen copy for full fine-tuning, once, where the model is then; return its bytes, 0 where adapters need none."""
        if self.adapter is not None:
            return 0
        if self._frozen_copy is None:
            self._frozen_copy = frozen_copy(
                self.vlm, layout=self.layout, sharding=self._sharding, compact=self.precision.compact
            )
        return self._frozen_copy.num_bytes

    def save(self, folder: Path) -> None:
        """The adapter in PEFT's format, or the whole model in Transformers' where there is none; safetensors.

        The first rank calls this; every rank, where `layout.trains_parts`: a whole model is then written part by part.
        """
        is_in_parts = self.layout.trains_parts and self.adapter is None
        if is_in_parts:
            save_parts(tensors_of(self.vlm), folder / WEIGHTS)
        if not ranks.is_first():
            return
        if is_in_parts:
            self.vlm.config.save_pretrained(folder)
            self.vlm.generation_config.save_pretrained(folder)
        else:
            (self.adapter or self.vlm).save_pretrained(folder)
        if self.adapter is None:
            declare(self.vlm, folder=folder)
            self.processor.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Takes the trained weights from a folder that `save` wrote; frozen weights stay. Raises ValueError for those of another model."""
        check_weights(folder)
        if self.adapter is not None:
            load_adapter(self.adapter, folder)
        elif (folder / WEIGHTS).is_dir():
            load_parts(tensors_of(self.vlm), folder / WEIGHTS, way_out=WAY_OUT)
        else:
            with nullcontext() if self._sharding is None else self._sharding.reading():
                load_whole(self.vlm, folder)
