"""A row becomes the prompt that the model reads: chat template, image markers, lengths. Needs the processor, no weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers import BatchFeature, ProcessorMixin

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.split_check import PromptLength


def chat(prompt: str) -> list[dict[str, object]]:
    """The user's turn in parts: text and, at each marker, an image."""
    texts = prompt.split(IMAGE_MARKER)
    parts: list[dict[str, str]] = []
    for i, text in enumerate(texts):
        parts += [{"type": "image"}] if i else []
        parts += [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": parts}]


Sizes = tuple[tuple[int, int], ...]  # (width, height) of each image of a prompt
KEPT = 10_000  # sizes whose expansions are remembered, some hundred bytes each


@dataclass(frozen=True, kw_only=True)
class _Short:
    """Text in which each run of an image token is one of them: as the tokenizer reads it, but for the length of the runs."""

    text: str
    num_left_out: int  # image tokens that the runs have beyond their first


class Prompts:
    """The prompts of one data set, as one model's processor and chat template make them."""

    def __init__(self, *, processor: ProcessorMixin, dataset: Dataset) -> None:
        self._processor, self._dataset = processor, dataset
        self._image_ids = {i for i in processor.image_token_ids if i is not None}
        tokens = processor.tokenizer.convert_ids_to_tokens(sorted(self._image_ids))
        self._runs = re.compile("|".join(rf"({re.escape(token)})\{i}+" for i, token in enumerate(tokens, start=1)))
        settings = processor._merge_kwargs(tokenizer_init_kwargs=processor.tokenizer.init_kwargs)
        self._image_settings = settings["images_kwargs"]
        self._expanded = lru_cache(KEPT)(self._expand)

    @property
    def special_tokens(self) -> frozenset[str]:
        """The tokens that tokenizer and processor never read as plain text."""
        tokenizer = self._processor.tokenizer
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        images = tokenizer.convert_ids_to_tokens(sorted(self._image_ids))
        return frozenset([*tokenizer.all_special_tokens, *added, *images, *self._processor.all_special_multimodal_tokens])

    def render(self, row: Row) -> str:
        """The prompt as text, after the chat template, before image markers are expanded; raises ValueError where other text
        is taken for an image."""
        text: str = self._processor.apply_chat_template(
            chat(self._dataset.prompt_for(row)), add_generation_prompt=True, tokenize=False
        )
        token = getattr(self._processor, "image_token", None)
        if token is not None and text.count(token) != len(row.images):
            raise ValueError(
                f"row {shown(row.id)} has {len(row.images)} images, but {text.count(token)} times {token} in its prompt, which stands "
                f"for an image. Write {IMAGE_MARKER} for each image, in order, and nowhere {token}."
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
        prompts = [self._short_prompt(row) for row in rows]
        texts = [prompt.text for prompt in prompts]
        encoded = self._processor.tokenizer(texts, add_special_tokens=self._adds_special_tokens(texts[0]))["input_ids"]
        return [self._length(ids, prompt.num_left_out) for ids, prompt in zip(encoded, prompts, strict=True)]

    def solution_lengths(self, rows: Sequence[Row]) -> list[int]:
        """Tokens of each worked solution, with the one that ends it."""
        if not rows:
            return []
        ids = self._processor.tokenizer([row.solution for row in rows], add_special_tokens=False)["input_ids"]
        return [len(tokens) + 1 for tokens in ids]

    def _length(self, ids: Sequence[int], num_left_out: int) -> PromptLength:
        images = sum(i in self._image_ids for i in ids)
        return PromptLength(text=len(ids) - images, image=images + num_left_out)

    def _short_prompt(self, row: Row) -> _Short:
        """Each marker as the processor expands it for an image of that size."""
        text = self.render(row)
        if not row.images:
            return _Short(text=text, num_left_out=0)
        images = self._expanded(tuple(self._dataset.picture_sizes(row)))
        replacements = [image.text for image in images]
        whole = self._shortened(self._processor.get_text_with_replacements([text], images_replacements=replacements)[0][0])
        return _Short(text=whole.text, num_left_out=whole.num_left_out + sum(image.num_left_out for image in images))

    def _shortened(self, text: str) -> _Short:
        runs = [(len(run[0]), len(run[run.lastindex or 0])) for run in self._runs.finditer(text)]
        return _Short(
            text=self._runs.sub(lambda run: run[run.lastindex or 0], text),
            num_left_out=sum(whole // token - 1 for whole, token in runs),
        )

    def _expand(self, sizes: Sizes) -> list[_Short]:
        """What the images of a prompt become, from the processor itself, on images without pixels."""
        # Floats: of whole numbers torchvision clamps what it resized, which without pixels is slow.
        blank = [torch.empty(3, height, width, device="meta") for width, height in sizes]
        return list(map(self._shortened, self._processor._process_images([blank], **self._image_settings)[1]))

    def _adds_special_tokens(self, text: str) -> bool:
        """False where the chat template has written the first token already: Gemma would read two of them."""
        bos = self._processor.tokenizer.bos_token
        return not (bos and text.startswith(bos))
