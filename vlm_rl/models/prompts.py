"""A row becomes the prompt that the model reads: chat template, image markers, lengths. Needs the processor, no weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row


@dataclass(frozen=True, kw_only=True)
class PromptLength:
    """Tokens of one prompt."""

    text: int
    image: int  # what the images of the prompt are expanded to

    @property
    def total(self) -> int:
        """What dataset.max_prompt_tokens bounds."""
        return self.text + self.image


def chat(prompt: str) -> list[dict[str, object]]:
    """The user's turn in parts: text and, at each marker, an image."""
    texts = prompt.split(IMAGE_MARKER)
    parts: list[dict[str, str]] = []
    for i, text in enumerate(texts):
        parts += [{"type": "image"}] if i else []
        parts += [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": parts}]


Sizes = tuple[tuple[int, int], ...]  # (width, height) of each image of a prompt


class Prompts:
    """The prompts of one data set, as one model's processor and chat template make them."""

    def __init__(self, *, processor: ProcessorMixin, dataset: Dataset) -> None:
        self._processor, self._dataset = processor, dataset
        self._image_ids = {i for i in processor.image_token_ids if i is not None}
        tokens = processor.tokenizer.convert_ids_to_tokens(sorted(self._image_ids))
        self._runs = re.compile("|".join(rf"({re.escape(token)})\{i}+" for i, token in enumerate(tokens, start=1)))
        self._expansions: dict[Sizes, list[dict[str, Any]]] = {}

    def render(self, row: Row) -> str:
        """The prompt as text, after the chat template, before image markers are expanded."""
        text: str = self._processor.apply_chat_template(
            chat(self._dataset.prompt_for(row)), add_generation_prompt=True, tokenize=False
        )
        return text

    def process(self, row: Row) -> BatchFeature:
        """The processor's whole output for one row: a batch of one, its images within the data set's pixel budget."""
        text = self.render(row)
        pictures = self._dataset.pictures(row)
        return self._processor(
            text=[text],
            images=[pictures] if pictures else None,  # nested: a flat list would be as many prompts of one image to LLaVA
            return_tensors="pt",
            add_special_tokens=self._adds_special_tokens(text),
        )

    def lengths(self, rows: Sequence[Row]) -> list[PromptLength]:
        """Length of each prompt, exactly, from the sizes of its pictures alone: no pixel is read."""
        if not rows:
            return []
        expanded = [self._expanded(self.render(row), row) for row in rows]
        texts = [
            self._runs.sub(lambda run: run[run.lastindex or 0], text) for text in expanded
        ]  # a run as one token: the rest is counted
        encoded = self._processor.tokenizer(texts, add_special_tokens=self._adds_special_tokens(texts[0]))["input_ids"]
        return [self._length(ids, self._num_left_out(text)) for ids, text in zip(encoded, expanded, strict=True)]

    def _length(self, ids: Sequence[int], num_left_out: int) -> PromptLength:
        images = sum(i in self._image_ids for i in ids)
        return PromptLength(text=len(ids) - images, image=images + num_left_out)

    def _num_left_out(self, text: str) -> int:
        """Image tokens that a run has beyond its first."""
        runs = [(len(run[0]), len(run[run.lastindex or 0])) for run in self._runs.finditer(text)]
        return sum(whole // token - 1 for whole, token in runs)

    def _expanded(self, text: str, row: Row) -> str:
        """Each marker as the processor expands it for an image of that size."""
        if not row.images:
            return text
        sizes = tuple(self._dataset.picture_sizes(row))
        if sizes not in self._expansions:
            blank = [torch.empty(3, height, width, dtype=torch.uint8, device="meta") for width, height in sizes]
            settings = self._processor._merge_kwargs(tokenizer_init_kwargs=self._processor.tokenizer.init_kwargs)[
                "images_kwargs"
            ]
            self._expansions[sizes] = self._processor._process_images([blank], **settings)[1]
        expanded: list[str] = self._processor.get_text_with_replacements([text], images_replacements=self._expansions[sizes])[0]
        return expanded[0]

    def _adds_special_tokens(self, text: str) -> bool:
        """False where the chat template has written the first token already: Gemma would read two of them."""
        bos = self._processor.tokenizer.bos_token
        return not (bos and text.startswith(bos))
