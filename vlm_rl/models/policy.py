"""The policy: a vision-language model with adapters. The reference is the same model with the adapters switched off."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlm_rl.models import parts
from vlm_rl.models.loading import load_pretrained, load_processor, load_untrained
from vlm_rl.models.logprobs import policy_logprobs, token_statistics
from vlm_rl.models.optimization import Optimization
from vlm_rl.models.vision_cache import VisionCache
from vlm_rl.randomness import forked_generator, stream_seed
from vlm_rl.types import ImageInput, QueryBatch, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ResponseStatistics:
    """Log-probability and entropy of each response token; 0 off the mask."""

    logprobs: Tokens
    entropy: Tokens


class Policy(nn.Module):
    """What samples and what learns. Its distribution is softmax(logits / temperature) over the allowed ids."""

    def __init__(
        self,
        *,
        name: str,
        untrained: bool,
        dtype: str,
        attention: str,
        gradient_checkpointing: bool,
        freeze: Sequence[str],
        lora: parts.Lora | None,
        vision_cache: int,
        min_pixels: int | None,
        max_pixels: int | None,
        optimization: Optimization,
        temperature: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.name, self.temperature, self.optimization = name, temperature, optimization
        self.processor: ProcessorMixin = load_processor(name, min_pixels=min_pixels, max_pixels=max_pixels)
        if untrained:
            vlm = load_untrained(name, dtype=dtype, attention=attention, root_seed=seed)
        else:
            vlm = load_pretrained(name, dtype=dtype, attention=attention)
        self.lora = lora
        self.vlm: PreTrainedModel = vlm
        self.adapter: PeftModel | None = None
        self._train_only_what_is_asked(vlm, freeze=freeze, seed=seed)
        if gradient_checkpointing:
            vlm.gradient_checkpointing_enable({"use_reentrant": False})
            vlm.enable_input_require_grads()
        seeing = [p for n, p in vlm.named_parameters() if parts.part_of(n) != "language"]
        self.vision_is_frozen = not any(p.requires_grad for p in seeing)
        self.vision_cache = VisionCache(max_bytes=vision_cache if self.vision_is_frozen else 0)
        self._frozen_copy: list[PreTrainedModel] = []  # in a list, so that it is no submodule: never trained, never saved
        self.banned: Tensor
        self.register_buffer("banned", self._banned_ids(vlm), persistent=False)

    def _train_only_what_is_asked(self, vlm: PreTrainedModel, *, freeze: Sequence[str], seed: int) -> None:
        if self.lora is None:
            parts.freeze(vlm, freeze)
            if any(p.requires_grad and p.dtype != torch.float32 for p in vlm.parameters()):
                raise ValueError(
                    "model.lora=null trains the base weights themselves, which must then be float32: "
                    "set model.dtype=float32, or keep LoRA (its adapters are float32 over a bfloat16 base)."
                )
            return
        if set(freeze) != {"vision", "connector"}:
            raise ValueError("With LoRA the vision and connector parts stay frozen: model.freeze=[vision,connector].")
        settings = LoraConfig(
            r=self.lora.rank,
            lora_alpha=self.lora.alpha,
            target_modules=self.lora.pattern,
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        )
        with forked_generator(stream_seed(seed, "lora_initialisation")):
            self.adapter = get_peft_model(vlm, settings)  # rewrites the layers of vlm in place

    @staticmethod
    def _banned_ids(vlm: PreTrainedModel) -> Bool[Tensor, " vocab"]:
        head = vlm.get_output_embeddings()
        banned = torch.zeros(head.weight.shape[0], dtype=torch.bool)
        for key, value in vlm.config.to_dict().items():
            if isinstance(value, int) and key.endswith("token_id") and key.startswith(("image", "video", "vision")):
                banned[value] = True
        return banned

    @property
    def stop_ids(self) -> list[int]:
        """All ids that end a response: the generation config's, not the tokenizer's only one."""
        eos = self.vlm.generation_config.eos_token_id
        ids = eos if isinstance(eos, list) else [eos]
        return [i for i in ids if i is not None] or [self.processor.tokenizer.eos_token_id]

    @property
    def pad_id(self) -> int:
        """Fills what the masks hide."""
        pad = self.processor.tokenizer.pad_token_id
        return int(pad if pad is not None else self.stop_ids[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.banned.device

    def position_ids(self, ids: Tensor, types: Tensor, grids: Tensor | None, mask: Tensor) -> Int[Tensor, "axis batch q"]:
        """The model's own positions: 3-D multimodal RoPE where it has one, else a count of the tokens (1 axis)."""
        if hasattr(self.vlm.model, "get_rope_index"):
            positions: Tensor = self.vlm.model.get_rope_index(
                ids, mm_token_type_ids=types, image_grid_thw=grids, attention_mask=mask
            )[0]
            return positions
        return (mask.long().cumsum(-1) - 1).clamp_min(0)[None]

    @torch.no_grad()
    def look(self, queries: QueryBatch) -> QueryBatch:
        """Replaces pixels by features while the tower is frozen, one image at a time, so that no result depends on its
        neighbours in the batch; every later forward of the step reuses them."""
        if not self.vision_is_frozen:
            return queries
        return replace(queries, images=tuple(tuple(map(self._seen, images)) for images in queries.images))

    def _seen(self, image: ImageInput) -> ImageInput:
        if image.features is not None:
            return image
        assert image.pixel_values is not None
        output = self.vlm.model.get_image_features(image.pixel_values, image.grid_thw[None], return_dict=True)
        features = torch.cat(list(output.pooler_output))
        self.vision_cache.put(image.key, features)
        return replace(image, pixel_values=None, features=features)

    def hidden(
        self, *, ids: Tensor, mask: Tensor, types: Tensor, positions: Tensor, images: Sequence[ImageInput], **cache: object
    ) -> Float[Tensor, "batch sequence hidden"]:
        """Last hidden states, before the LM head; `images` in the order of their rows."""
        inputs: dict[str, object] = {"mm_token_type_ids": types, **cache}
        if images:
            inputs["image_grid_thw"] = torch.stack([image.grid_thw for image in images])
            if images[0].features is not None:
                features = tuple(image.features for image in images)
                inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=features)}
            else:
                inputs["pixel_values"] = torch.cat([image.pixel_values for image in images if image.pixel_values is not None])
        output = self.vlm.model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions if positions.shape[0] > 1 else positions[0],
            **inputs,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def next_token_logprobs(self, hidden: Float[Tensor, "batch hidden"], *, temperature: float) -> Float[Tensor, "batch vocab"]:
        """What the engine samples from; the same function as in training."""
        return policy_logprobs(hidden, head=self.vlm.get_output_embeddings(), temperature=temperature, banned=self.banned)

    def statistics(self, trajectory: Trajectory) -> ResponseStatistics:
        """Log-probability and entropy of each response token under the policy; with gradients unless switched off."""
        hidden = self.hidden(
            ids=trajectory.input_ids,
            mask=trajectory.attention_mask,
            types=trajectory.mm_token_type_ids,
            positions=trajectory.position_ids,
            images=[image for images in trajectory.images for image in images],
            use_cache=False,
        )
        mask = trajectory.response_mask
        before = hidden[:, hidden.shape[1] - mask.shape[1] - 1 : -1]  # the state before a token decides on it
        result = token_statistics(
            before[mask],
            trajectory.response_ids[mask],
            head=self.vlm.get_output_embeddings(),
            temperature=self.temperature,
            banned=self.banned,
        )
        zeros = torch.zeros(mask.shape, device=mask.device)
        return ResponseStatistics(
            logprobs=zeros.masked_scatter(mask, result.logprobs), entropy=zeros.masked_scatter(mask, result.entropy)
        )

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """The untrained model inside: adapters off, or the frozen copy where there are none."""
        if self.adapter is not None:
            with self.adapter.disable_adapter():
                yield
            return
        if not self._frozen_copy:
            raise RuntimeError("keep_reference() must be called before full fine-tuning begins.")
        trained, self.vlm = self.vlm, self._frozen_copy[0]
        try:
            yield
        finally:
            self.vlm = trained

    def keep_reference(self) -> int:
        """With full fine-tuning a frozen copy is made, once; returns its size in bytes, 0 where adapters make it needless."""
        if self.adapter is not None:
            return 0
        if not self._frozen_copy:
            self._frozen_copy.append(copy.deepcopy(self.vlm).requires_grad_(False).eval())
        self._frozen_copy[0].to(self.device)  # no submodule, so nobody else moves it
        return sum(p.nbytes for p in self._frozen_copy[0].parameters())

    def save(self, folder: Path) -> None:
        """The adapter in PEFT's format, or the whole model in Transformers' where there is none; safetensors."""
        (self.adapter or self.vlm).save_pretrained(folder)
        if self.adapter is None:
            self.processor.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Takes the trained weights from a folder that `save` wrote; frozen weights stay."""
        if self.adapter is not None:
            set_peft_model_state_dict(self.adapter, load_file(folder / "adapter_model.safetensors"))
        else:
            saved = AutoModelForImageTextToText.from_pretrained(folder, dtype=self.vlm.dtype, use_safetensors=True)
            self.vlm.load_state_dict(saved.state_dict())
