"""What writes the responses of a stand-in server: our own policy, or dice."""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import small

from vlm_rl.datasets.row import Row
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine


@dataclass(frozen=True)
class Sent:
    """A picture that came with a request."""

    key: str
    png: bytes

    def load(self) -> Image.Image:
        return Image.open(BytesIO(self.png)).convert("RGB")

    @property
    def size(self) -> tuple[int, int]:
        return self.load().size


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model wrote."""

    prompt: list[int]
    ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    row: Row
    settings: SamplingSettings
    seed: int
    adapter: str | None
    is_raw: bool

    @property
    def together(self) -> tuple[Any, ...]:
        """Requests that have this in common can be answered in one batch."""
        return self.settings, self.adapter, self.is_raw


class Writer(Protocol):
    """A model behind the server."""

    def load(self, name: str, path: str) -> None: ...

    def unload(self, name: str) -> None: ...

    def write(self, asked: Sequence[Asked]) -> list[Reply]: ...


class PolicyWriter:
    """Our own policy, and adapters by name."""

    def __init__(self, *overrides: str, forward_batch_size: int = 1) -> None:
        experiment = small(*overrides, tremble=False)
        experiment.reward.close()
        self.policy = experiment.policy
        as_sent = replace(experiment.dataset, prompt="{question}", max_pixels=None)
        self._encoder = PromptEncoder(policy=self.policy, dataset=as_sent)
        self._engine = HuggingFaceEngine(forward_batch_size=forward_batch_size)
        self._engine.load(self.policy)
        self._base = self.policy.trained_weights()
        self._adapters: dict[str, tuple[torch.Tensor, ...]] = {}

    def load(self, name: str, path: str) -> None:
        self.policy.load(Path(path))
        self._adapters[name] = self.policy.trained_weights()

    def unload(self, name: str) -> None:
        del self._adapters[name]

    def write(self, asked: Sequence[Asked]) -> list[Reply]:
        """Answers to requests that have their settings and adapter in common."""
        adapter, settings = asked[0].adapter, asked[0].settings
        self.policy.take(self._base if adapter is None else self._adapters[adapter], version=0)
        queries = self._encoder.batch([one.row for one in asked], indices=range(len(asked)), step=0)
        found = self._engine.generate(queries, settings, np.array([[one.seed] for one in asked]))
        factor = settings.temperature if asked[0].is_raw else 1.0
        return [
            Reply(
                prompt=queries.query_ids[i][queries.attention_mask[i]].tolist(),
                ids=found.response_ids[i][found.response_mask[i]].tolist(),
                logprobs=[float(value) / factor for value in found.engine_logprobs[i][found.response_mask[i]]],
            )
            for i in range(len(asked))
        ]


class DiceWriter(PolicyWriter):
    """Throws dice in place of the model: as many tokens in a thousandth of the time."""

    def load(self, name: str, path: str) -> None:
        assert (Path(path) / "adapter_config.json").exists()
        self._adapters[name] = ()

    def write(self, asked: Sequence[Asked]) -> list[Reply]:
        return [self._dice(one) for one in asked]

    def _dice(self, one: Asked) -> Reply:
        ids = self.ids(one.seed, one.row.question, one.settings)
        prompt = self._encoder.batch([one.row], indices=[0], step=0, has_images=False).query_ids[0].tolist()
        return Reply(prompt=prompt, ids=ids, logprobs=[-1.0] * len(ids))

    def ids(self, seed: int, prompt: str, settings: SamplingSettings) -> list[int]:
        """What it writes."""
        draws = random.Random(f"{seed} {prompt} {settings.temperature}")
        ids = [draws.randrange(100, 400) for _ in range(draws.randrange(1, settings.max_new_tokens))]
        return [*ids, self.policy.stop_ids[0]]
