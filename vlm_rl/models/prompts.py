"""A row becomes the prompt that the model reads: chat template, image markers, lengths. Needs the processor, no weights."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from PIL import Image
from transformers import BatchFeature, ProcessorMixin

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.datasets.shown import shown
from vlm_rl.datasets.split_check import PromptLength
from vlm_rl.models.prompt_lengths import PromptLengths


def chat(prompt: str) -> list[dict[str, object]]:
    """The user's turn in parts: text and, at each marker, an image."""
    texts = prompt.split(IMAGE_MARKER)
    parts: list[dict[str, str]] = []
    for i, text in enumerate(texts):
        parts += [{"type": "image"}] if i else []
        parts += [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": parts}]


class Prompts:
    """The prompts of one data set, as one model's processor and chat template make them."""

    def __init__(
        self, *, processor: ProcessorMixin, dataset: Dataset, chat_template: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self._processor, self._dataset, self._chat_template = processor, dataset, chat_template
        self._image_ids = {i for i in processor.image_token_ids if i is not None}
        self._lengths = PromptLengths(processor=processor, adds_special_tokens=self._adds_special_tokens)

    @property
    def special_tokens(self) -> frozenset[str]:
        """The tokens that tokenizer and processor never read as plain text."""
        tokenizer = self._processor.tokenizer
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        images = tokenizer.convert_ids_to_tokens(sorted(self._image_ids))
        return frozenset([*tokenizer.all_special_tokens, *added, *images, *self._processor.all_special_multimodal_tokens])

    def turn(self, row: Row) -> tuple[str, list[Image.Image]]:
        """The user's turn before the chat template: text with an image marker for each picture, and the pictures."""
        return self._dataset.prompt_for(row), self._dataset.pictures(row)

    def render(self, row: Row) -> str:
        """The prompt as text, after the chat template, before image markers are expanded; raises ValueError where other text
        is taken for an image."""
        text: str = self._processor.apply_chat_template(
            chat(self._dataset.prompt_for(row)), add_generation_prompt=True, tokenize=False, **self._chat_template
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
        sizes = [tuple(self._dataset.picture_sizes(row)) if row.images else () for row in rows]
        return self._lengths.of([self.render(row) for row in rows], sizes)

    def solution_lengths(self, rows: Sequence[Row]) -> list[int]:
        """Tokens of each worked solution, with the one that ends it."""
        if not rows:
            return []
        ids = self._processor.tokenizer([row.solution for row in rows], add_special_tokens=False)["input_ids"]
        return [len(tokens) + 1 for tokens in ids]

    def _adds_special_tokens(self, text: str) -> bool:
        """False where the chat template has written the first token already: Gemma would read two of them."""
        bos = self._processor.tokenizer.bos_token
        return not (bos and text.startswith(bos))
