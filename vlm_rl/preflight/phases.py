"""The phases of a generation step, run with the project's own code on shadows: what is alive at each peak, what each computes.

All of them at their largest: every prompt as long as the longest, every response written to its end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from vlm_rl.models import parts, vision
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.preflight import shapes
from vlm_rl.preflight.shadows import Shadows
from vlm_rl.preflight.shapes import BlankPrompt, PromptShape, Workload
from vlm_rl.preflight.tracker import Operation, Peak
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine, draw
from vlm_rl.types import ImageFeatures, ImageInput, QueryBatch, Samples

WEIGHTS, REFERENCE, OPTIMIZER, GRADIENTS = "weights", "reference copy", "optimizer states", "gradients"
BUCKETS = "gradient buckets of DDP"
IMAGES, KV_CACHE, LOGITS = "images", "kv cache", "logits"
VISION, PREFILL, FIRST_TOKENS, LAST_TOKENS = "vision", "prefill", "first tokens", "last tokens"
SCORING, UPDATE, OPTIMIZER_STEP = "scoring", "update", "optimizer step"
TRACED_TOKENS = 2  # of a response: the scores of one token live on while those of the next are made


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One traced piece of work."""

    name: str
    peak: Peak
    operations: tuple[Operation, ...]
    num_sequences: int  # prompts or responses of the traced batch


class _Engine(HuggingFaceEngine):
    """Says which tensors are the cache as soon as some of the prompts are read."""

    def __init__(self, *, label: Callable[[Iterable[Tensor]], None], forward_batch_size: int) -> None:
        super().__init__(forward_batch_size=forward_batch_size)
        self._label = label

    def _read(  # type: ignore[override]  # static there
        self, policy: Policy, queries: QueryBatch, chosen: slice
    ) -> tuple[DynamicCache, Tensor]:
        cache, hidden = HuggingFaceEngine._read(policy, queries, chosen)
        self._label(cached(cache))
        return cache, hidden


class Tracer:
    """A policy of shadows and what it is asked to do."""

    def __init__(self, *, make: Callable[[], Policy], workload: Workload) -> None:
        self._shadows, self._workload = Shadows(), workload
        self.policy = self._shadows.build(lambda: self._with_reference(make()))
        self._copies = self.policy._frozen_copy  # in a list, no submodule of the policy
        for copy in self._copies:
            self._shadows.cast(copy)
        self._shadows.label_width(len(self.policy.banned), LOGITS)
        self._label(self.policy.parameters(), WEIGHTS)
        self._label((p for copy in self._copies for p in copy.parameters()), REFERENCE)
        self._phases: list[Phase] = []
        self._pixel_bytes = self._feature_bytes = 0  # of a typical prompt

    def _with_reference(self, policy: Policy) -> Policy:
        if self._workload.needs_reference:
            policy.keep_reference()
        return policy

    def trace(self) -> list[Phase]:
        """In the order of a generation step that is not the first one: the optimizer has its states."""
        prompt, ending = (shapes.blank_prompt(self.policy, shape) for shape in (self._workload.longest, self._ending()))
        self._pixel_bytes = num_bytes(shapes.blank_prompt(self.policy, self._workload.typical).inputs)
        self.policy.train()
        with self._shadows:
            buckets = self._buckets()
            optimizer = self._optimizer()
            features = self._look(prompt)
            if features is not None and self.policy.vision_is_frozen:
                self._feature_bytes = round(features.nbytes * self._pixel_bytes / num_bytes(prompt.inputs))
            self._sample(prompt, ending, features)
            self._score(prompt, features)
            self._update(prompt, features, optimizer)
        del buckets
        return self._phases

    def _buckets(self) -> list[Tensor]:
        """What several ranks add up their gradients in: kept beside the gradients for the whole run."""
        buckets = [torch.empty_like(p) for p in self.policy.parameters() if p.requires_grad and self._workload.num_ranks > 1]
        self._label(buckets, BUCKETS)
        return buckets

    def _ending(self) -> PromptShape:
        """The longest prompt with all but the last tokens of its response behind it."""
        longest = self._workload.longest
        return replace(longest, tokens=longest.tokens + self._workload.max_new_tokens - TRACED_TOKENS)

    def _optimizer(self) -> torch.optim.Optimizer:
        trained = parts.trained(self.policy.vlm)
        optimizer = self.policy.optimization.optimizer(trained, scale=1.0)
        for group in optimizer.param_groups:
            group["foreach"] = self._workload.on_gpu
        self._empty_gradients()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self._label((t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)), OPTIMIZER)
        return optimizer

    @torch.no_grad()
    def _look(self, prompt: BlankPrompt) -> ImageFeatures | None:
        """The vision tower at the pictures of one prompt."""
        if prompt.inputs is None or not self.policy.takes_features:
            return None
        image = self._images(prompt, None, count=1)[0]
        assert image is not None
        with self._phase(VISION, num_sequences=1), self._other_images(pixels=1):
            return vision.features_of(self.policy.vlm, image)

    @torch.no_grad()
    def _sample(self, prompt: BlankPrompt, ending: BlankPrompt, features: ImageFeatures | None) -> None:
        """Step II: the prompts, the first tokens, and the last ones, when the cache is fullest."""
        workload = self._workload
        engine = _Engine(label=lambda tensors: self._label(tensors, KV_CACHE), forward_batch_size=workload.forward_batch_size)
        num_responses = workload.chunk * workload.group_size
        self.policy.vlm.eval()
        for before, name in ((prompt, FIRST_TOKENS), (ending, LAST_TOKENS)):
            count = workload.chunk if before is prompt or num_responses % 2 else min(2, workload.chunk)
            asked = self._queries(before, features, count=count)
            with self._phase(PREFILL, num_sequences=count), self._other_images(features=count):
                rows, hidden = engine._prefill(self.policy, asked, num_responses // count)
                self._label(cached(rows.cache), KV_CACHE)
            if before is not prompt:
                self._phases.pop()  # no run reads so long a prompt, here even two for all; it only filled the cache
            with self._phase(name, num_sequences=num_responses), self._other_images(features=count):
                self._write(engine, rows, hidden)
        self.policy.vlm.train()

    def _write(self, engine: HuggingFaceEngine, rows: Any, hidden: Tensor) -> None:
        numbers = torch.zeros(len(hidden), dtype=torch.float64)
        for _ in range(TRACED_TOKENS):
            scores = self.policy.next_token_logprobs(hidden, temperature=self.policy.temperature)
            tokens = draw(scores, numbers, top_p=1.0)
            hidden = engine._step(self.policy, rows, tokens)
            self._label(cached(rows.cache), KV_CACHE)

    def _score(self, prompt: BlankPrompt, features: ImageFeatures | None) -> None:
        """Step III: a batch without gradients."""
        workload = self._workload
        count = min(workload.num_responses, workload.rows_within(self.policy.optimization.forward_batch_tokens))
        samples = shapes.samples(self._queries(prompt, features, count=count), num_tokens=workload.max_new_tokens)
        with self._phase(SCORING, num_sequences=count), self._other_images(features=count):
            response_logprobs(self.policy, samples)

    def _update(self, prompt: BlankPrompt, features: ImageFeatures | None, optimizer: torch.optim.Optimizer) -> None:
        """Step IV: two micro-batches if a mini-batch has several, then the optimizer."""
        workload, policy = self._workload, self.policy
        count = min(workload.mini_batch, workload.rows_within(policy.optimization.micro_batch_tokens))
        seen = features if policy.vision_is_frozen else None
        samples = shapes.samples(self._queries(prompt, seen, count=count), num_tokens=workload.max_new_tokens)
        trained = [p for p in policy.parameters() if p.requires_grad]
        shown = {"pixels" if seen is None else "features": count}
        passes = 2 if workload.mini_batch > count else 1  # a second one finds the gradients of the first
        with self._phase(UPDATE, num_sequences=count * passes), self._other_images(**shown):
            self._learn(samples, trained, passes=passes)
        with self._phase(OPTIMIZER_STEP, num_sequences=workload.mini_batch), self._other_images(**shown):
            nn.utils.clip_grad_norm_(trained, policy.optimization.max_grad_norm)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _learn(self, samples: Samples, trained: list[nn.Parameter], *, passes: int) -> None:
        for _ in range(passes):
            statistics = self.policy.statistics(samples)  # as in the loop, those of one pass live on into the next
            torch.autograd.backward([statistics.logprobs.sum()])
            self._label((p.grad for p in trained if p.grad is not None), GRADIENTS)

    def _empty_gradients(self) -> None:
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        self._label((p.grad for p in trained if p.grad is not None), GRADIENTS)

    def _queries(self, prompt: BlankPrompt, features: ImageFeatures | None, *, count: int) -> QueryBatch:
        return shapes.queries(prompt, self._images(prompt, features, count=count))

    def _images(self, prompt: BlankPrompt, features: ImageFeatures | None, *, count: int) -> tuple[ImageInput | None, ...]:
        """The pictures of so many different prompts: as features where there are any, else as the processor's outputs."""
        if prompt.inputs is None:
            return (None,) * count
        made = []
        for place in range(count):
            inputs = None if features is not None else {k: self._shadows.of(v) for k, v in prompt.inputs.items()}
            own = None if features is None else features if self._workload.on_gpu else copied(features)
            made.append(ImageInput(key=str(place), inputs=inputs, features=own))
            self._label(own.tensors if own is not None else (inputs or {}).values(), IMAGES)
        return tuple(made)

    @contextmanager
    def _other_images(self, *, pixels: int = 0, features: int = 0) -> Iterator[None]:
        """Room for the pictures of a generation step but for so many, where memory is the host's: as features of a frozen tower or,
        where they are encoded at every forward, as pixels."""
        count = 0 if self._workload.on_gpu else self._workload.num_queries
        size = max(0, count - pixels) * self._pixel_bytes
        if self.policy.encodes_images_once:
            size = max(0, count - features) * self._feature_bytes
        held = torch.empty(size // 2, dtype=torch.float16)
        self._label([held], IMAGES)
        yield
        del held

    @contextmanager
    def _phase(self, name: str, *, num_sequences: int) -> Iterator[None]:
        self._shadows.start()
        yield
        peak, operations = self._shadows.stop()
        self._phases.append(Phase(name=name, peak=peak, operations=operations, num_sequences=num_sequences))

    def _label(self, tensors: Iterable[Tensor], name: str) -> None:
        self._shadows.ledger.label(tensors, name)


def copied(features: ImageFeatures) -> ImageFeatures:
    """The same features in memory of their own."""
    pooled, deep = features.pooled, features.deepstack
    return ImageFeatures(
        pooled=pooled.clone() if isinstance(pooled, Tensor) else tuple(image.clone() for image in pooled),
        deepstack=None if deep is None else tuple(tuple(image.clone() for image in layer) for layer in deep),
    )


def cached(cache: Cache) -> Iterator[Tensor]:
    """Keys and values, and whatever else the layers of a cache remember."""
    for layer in cache.layers:
        yield from (value for value in vars(layer).values() if isinstance(value, Tensor))


def num_bytes(inputs: Mapping[str, Tensor] | None) -> int:
    """Of what the processor made of the pictures of a prompt."""
    return sum(value.nbytes for value in (inputs or {}).values())
