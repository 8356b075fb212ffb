"""A row becomes what the model reads: its processor's ids, image tokens and pixels, and the model's own positions.

Each row is processed on its own terms, so no number depends on its neighbours. Ids and positions of a row are kept; pixels are
made anew unless the vision cache has the image's features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.models.policy import Policy
from vlm_rl.types import ImageInput, QueryBatch


@dataclass(frozen=True, kw_only=True)
class EncodedRow:
    """One prompt, unpadded."""

    ids: Int[Tensor, " query"]
    types: Int[Tensor, " query"]
    position_ids: Int[Tensor, "axis query"]
    grids: tuple[Int[Tensor, " 3"], ...]


EncodedImages = tuple[EncodedRow, tuple[ImageInput, ...]]


def chat(prompt: str) -> list[dict[str, object]]:
    """The user's turn in parts: text and, at each marker, an image."""
    texts = prompt.split(IMAGE_MARKER)
    parts: list[dict[str, str]] = []
    for i, text in enumerate(texts):
        parts += [{"type": "image"}] if i else []
        parts += [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": parts}]


def _key(row: Row) -> tuple[str, ...]:
    return row.question, *(image.key for image in row.images)  # all that a prompt depends on


class PromptEncoder:
    """Rows to query batches with one policy's processor and one data set's prompt."""

    def __init__(self, *, policy: Policy, dataset: Dataset) -> None:
        self._policy, self._dataset = policy, dataset
        self._encoded: dict[tuple[str, ...], EncodedRow] = {}

    def render(self, row: Row) -> str:
        """The prompt as text, after the chat template, before image markers are expanded."""
        text: str = self._policy.processor.apply_chat_template(
            chat(self._dataset.prompt_for(row)), add_generation_prompt=True, tokenize=False
        )
        return text

    def num_tokens(self, row: Row, pictures: list[Image.Image]) -> int:
        """Length of the prompt with its image tokens, from the sizes of the pictures alone."""
        processor = self._policy.processor
        text = len(processor.tokenizer(self.render(row))["input_ids"])
        if not pictures:
            return text
        sizes = [(picture.height, picture.width) for picture in pictures]
        tokens = processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"]
        return text + int(sum(tokens)) - len(pictures)

    def batch(self, rows: Sequence[Row], *, indices: Sequence[int], step: int) -> QueryBatch:
        """A left-padded batch; `indices` are the places of the rows in the global batch."""
        new = [row for row in rows if not self._is_known(row)]
        seen = dict(zip(map(_key, new), self._process(new), strict=True)) if new else {}
        pairs = [seen.get(_key(row)) or self._known(row) for row in rows]
        width = max(len(encoded.ids) for encoded, _ in pairs)
        axes = pairs[0][0].position_ids.shape[0]
        ids = torch.full((len(rows), width), self._policy.pad_id)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        types = torch.zeros(len(rows), width, dtype=torch.long)
        positions = torch.zeros(axes, len(rows), width, dtype=torch.long)
        for i, (encoded, _) in enumerate(pairs):
            window = slice(width - len(encoded.ids), width)
            ids[i, window], types[i, window], mask[i, window] = encoded.ids, encoded.types, True
            positions[:, i, window] = encoded.position_ids
        return QueryBatch(
            rows=tuple(rows),
            indices=tuple(indices),
            step=step,
            query_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=types,
            position_ids=positions,
            next_positions=positions.amax(dim=(0, 2)) + 1,
            images=tuple(images for _, images in pairs),
        )

    def _is_known(self, row: Row) -> bool:
        cache = self._policy.vision_cache
        return _key(row) in self._encoded and all(cache.get(image.key) is not None for image in row.images)

    def _known(self, row: Row) -> EncodedImages:
        encoded, cache = self._encoded[_key(row)], self._policy.vision_cache
        return encoded, tuple(
            ImageInput(key=image.key, grid_thw=grid, pixel_values=None, features=cache.get(image.key))
            for image, grid in zip(row.images, encoded.grids, strict=True)
        )

    def _process(self, rows: Sequence[Row]) -> list[EncodedImages]:
        """One call of the processor; each picture is resized and normalised on its own."""
        pictures = [image.load() for row in rows for image in row.images]
        output = self._policy.processor(
            text=[self.render(row) for row in rows],
            images=pictures or None,
            return_tensors="pt",
            padding=True,
            return_mm_token_type_ids=True,
        )
        ids, mask, types = output["input_ids"], output["attention_mask"].bool(), output["mm_token_type_ids"].long()
        grids = output["image_grid_thw"] if pictures else torch.zeros(0, 3, dtype=torch.long)
        positions = self._policy.position_ids(ids, types, grids if pictures else None, mask)
        pixels = output["pixel_values"].split(grids.prod(1).tolist()) if pictures else ()
        images = iter(zip(grids.unbind(), pixels, strict=True))
        result = []
        for i, row in enumerate(rows):
            own = [(image.key, *next(images)) for image in row.images]
            encoded = EncodedRow(
                ids=ids[i, mask[i]],
                types=types[i, mask[i]],
                position_ids=positions[:, i, mask[i]],
                grids=tuple(grid for _, grid, _ in own),
            )
            if self._policy.vision_is_frozen:
                self._encoded[_key(row)] = encoded
            inputs = [ImageInput(key=key, grid_thw=grid, pixel_values=values, features=None) for key, grid, values in own]
            result.append((encoded, tuple(inputs)))
        return result
