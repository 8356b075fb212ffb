"""How many tokens prompts take, from their texts and the sizes of their pictures: no pixel is read.

Where a processor's own replacements of image markers tell all, no picture is made. That is tried first, against the processor's whole
output for blank pictures of several sizes; where it differs, lengths come from blank pictures, one for each set of sizes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from transformers import ProcessorMixin

from vlm_rl.datasets.split_check import PromptLength

Sizes = tuple[tuple[int, int], ...]  # (width, height) of each image of a prompt
KEPT = 10_000  # sizes whose expansions are remembered, some hundred bytes each
TRIED: Sizes = ((56, 42), (400, 300), (900, 180), (1200, 1000))  # small, usual, wide, and large enough to be cut by any family


@dataclass(frozen=True, kw_only=True)
class _Short:
    """Text in which each run of an image token is one of them: as the tokenizer reads it, but for the length of the runs."""

    text: str
    num_left_out: int  # image tokens that the runs have beyond their first


class PromptLengths:
    """The lengths of one processor's prompts."""

    def __init__(self, *, processor: ProcessorMixin, adds_special_tokens: Callable[[str], bool]) -> None:
        self._processor, self._adds_special_tokens = processor, adds_special_tokens
        self._image_ids = {i for i in processor.image_token_ids if i is not None}
        tokens = processor.tokenizer.convert_ids_to_tokens(sorted(self._image_ids))
        self._runs = re.compile("|".join(rf"({re.escape(token)})\{i}+" for i, token in enumerate(tokens, start=1)))
        settings = processor._merge_kwargs(tokenizer_init_kwargs=processor.tokenizer.init_kwargs)
        self._image_settings = settings["images_kwargs"]
        self._replaced = lru_cache(KEPT)(self._replacements)
        self._added: dict[Sizes, PromptLength] = {}
        self._replacements_tell_all: dict[int, bool] = {}  # by kind of prompt: no image, one, several

    def of(self, texts: Sequence[str], sizes: Sequence[Sizes]) -> list[PromptLength]:
        """The length of each rendered prompt, with the sizes of its pictures."""
        found = {i: self._of_replacements(texts[i], sizes[i]) for i in range(len(texts)) if self._is_told(texts[i], sizes[i])}
        short = self._tokenized([prompt.text for prompt in found.values()])
        lengths = {i: self._counted(ids, found[i].num_left_out) for i, ids in zip(found, short, strict=True)}
        others = [i for i in range(len(texts)) if i not in lengths]
        for i, ids in zip(others, self._tokenized([texts[i] for i in others]), strict=True):
            added = self._of_pictures(texts[i], sizes[i])
            lengths[i] = PromptLength(text=len(ids) + added.text, image=added.image)
        return [lengths[i] for i in range(len(texts))]

    def _is_told(self, text: str, sizes: Sizes) -> bool:
        """Whether replacements alone give the right length for prompts with no, one or several images: tried once for each."""
        kind = min(2, len(sizes))
        if kind not in self._replacements_tell_all:
            tried = [sizes, *(((size,) * len(sizes)) for size in TRIED if sizes)]
            self._replacements_tell_all[kind] = all(self._agrees(text, of) for of in tried)
        return self._replacements_tell_all[kind]

    def _agrees(self, text: str, sizes: Sizes) -> bool:
        try:
            short = self._of_replacements(text, sizes)
        except Exception:  # some processors do arithmetic on pixels
            return False
        (ids,) = self._tokenized([short.text])
        return self._counted(ids, short.num_left_out) == self._whole(text, sizes)

    def _whole(self, text: str, sizes: Sizes) -> PromptLength:
        """Of the processor's own ids, with blank pictures."""
        pictures = [Image.new("RGB", size) for size in sizes]
        output = self._processor(
            text=[text],
            images=[pictures] if pictures else None,
            return_tensors="pt",
            add_special_tokens=self._adds_special_tokens(text),
        )
        return self._counted(output["input_ids"][0].tolist(), 0)

    def _of_pictures(self, text: str, sizes: Sizes) -> PromptLength:
        """What pictures of these sizes add to the tokens of a prompt's own text; remembered."""
        if sizes not in self._added:
            (ids,) = self._tokenized([text])
            whole = self._whole(text, sizes)
            self._added[sizes] = PromptLength(text=whole.text - len(ids), image=whole.image)
        return self._added[sizes]

    def _of_replacements(self, text: str, sizes: Sizes) -> _Short:
        """Each marker as the processor expands it for an image of that size."""
        if not sizes:
            return _Short(text=text, num_left_out=0)
        images = self._replaced(sizes)
        replacements = [image.text for image in images]
        whole = self._shortened(self._processor.get_text_with_replacements([text], images_replacements=replacements)[0][0])
        return _Short(text=whole.text, num_left_out=whole.num_left_out + sum(image.num_left_out for image in images))

    def _shortened(self, text: str) -> _Short:
        runs = [(len(run[0]), len(run[run.lastindex or 0])) for run in self._runs.finditer(text)]
        return _Short(
            text=self._runs.sub(lambda run: run[run.lastindex or 0], text),
            num_left_out=sum(whole // token - 1 for whole, token in runs),
        )

    def _replacements(self, sizes: Sizes) -> list[_Short]:
        """What the images of a prompt become, from the processor itself, on images without pixels."""
        # Floats: of whole numbers torchvision clamps what it resized, which without pixels is slow.
        blank = [torch.empty(3, height, width, device="meta") for width, height in sizes]
        return list(map(self._shortened, self._processor._process_images([blank], **self._image_settings)[1]))

    def _counted(self, ids: Sequence[int], num_left_out: int) -> PromptLength:
        images = sum(i in self._image_ids for i in ids)
        return PromptLength(text=len(ids) - images, image=images + num_left_out)

    def _tokenized(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._processor.tokenizer(texts, add_special_tokens=self._adds_special_tokens(texts[0]))[
            "input_ids"
        ]
        return ids
