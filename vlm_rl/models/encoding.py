"""A row becomes what the model reads: its processor's ids and image tokens, the model's own positions, and its images: as features
where the vision tower is frozen, else as pixels.

Each row is processed on its own, so no number depends on its neighbours. The ids and positions of the last 10,000 prompts are kept;
images are encoded again unless the vision cache has their features.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.models.family import OF_TEXT, TOKEN_TYPES
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.models.vision import in_dtype_of
from vlm_rl.types import ImageInput, QueryBatch

KEPT_ROWS = 10_000  # encoded prompts that stay in memory; about 200 MB at 500 tokens of 40 bytes


@dataclass(frozen=True, kw_only=True)
class EncodedRow:
    """One prompt, unpadded."""

    ids: Int[Tensor, " query"]
    types: Int[Tensor, " query"]
    position_ids: Int[Tensor, "axis query"]


def images_key(row: Row) -> str:
    """Content of all images of a prompt, in order; "" where it has none."""
    return "+".join(image.key for image in row.images)


class PromptEncoder:
    """Rows to query batches with one policy's processor and one data set's prompt."""

    def __init__(self, *, policy: Policy, dataset: Dataset) -> None:
        self._policy = policy
        self.prompts = Prompts(processor=policy.processor, dataset=dataset, chat_template=policy.chat_template)
        self._encoded: OrderedDict[tuple[str, str], EncodedRow] = OrderedDict()

    def batch(self, rows: Sequence[Row], *, indices: Sequence[int], step: int, has_images: bool = True) -> QueryBatch:
        """A left-padded batch; `indices` are the places of the rows in the global batch. Servers read pictures themselves: for them
        it needs no images."""
        if has_images:
            with self._policy.layout.gathered():
                pairs = [self._known(row) or self._process(row) for row in rows]
        else:
            pairs = [
                (self._encoded.get((row.question, images_key(row))) or self._kept(row, self.with_pixels(row)[0]), None)
                for row in rows
            ]
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

    def _known(self, row: Row) -> tuple[EncodedRow, ImageInput | None] | None:
        """A row whose ids are kept here and whose features are in the vision cache."""
        key = images_key(row)
        encoded = self._encoded.get((row.question, key))
        if encoded is None or not row.images:
            return None if encoded is None else (encoded, None)
        features = self._policy.vision_cache.get(key)
        return None if features is None else (encoded, ImageInput(key=key, inputs=None, features=features))

    def _process(self, row: Row) -> tuple[EncodedRow, ImageInput | None]:
        encoded, images = self.with_pixels(row)
        self._kept(row, encoded)
        return encoded, None if images is None else self._policy.encode_images(images)

    def _kept(self, row: Row, encoded: EncodedRow) -> EncodedRow:
        self._encoded[row.question, images_key(row)] = encoded
        if len(self._encoded) > KEPT_ROWS:
            self._encoded.popitem(last=False)
        return encoded

    def with_pixels(self, row: Row) -> tuple[EncodedRow, ImageInput | None]:
        """One call of the processor; the images are not encoded."""
        output = self.prompts.process(row)
        inputs = in_dtype_of(self._policy.vlm, {name: value for name, value in output.items() if name not in OF_TEXT})
        ids: Tensor = output["input_ids"]
        types: Tensor = next((output[name].long() for name in TOKEN_TYPES if name in output), torch.zeros_like(ids))
        encoded = EncodedRow(ids=ids[0], types=types[0], position_ids=self._policy.position_ids(ids, types, inputs)[:, 0])
        return encoded, ImageInput(key=images_key(row), inputs=inputs, features=None) if row.images else None
