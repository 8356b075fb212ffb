"""The phases of a generation step on fake tensors, run by the functions that training runs: their memory and their operations.

All of them at their largest: every prompt as long as the longest, every response written to its end. What is not in the memory: the
CUDA context (about 0.5 GiB), the work space of cuBLAS and NCCL, and the gaps of the allocator. Several ranks are those of DDP.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from vlm_rl.models import parts, vision
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.lean_adapters import summed_weights
from vlm_rl.models.policy import Policy
from vlm_rl.models.quantization import constants
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.pipeline.step4_policy_update import clip_gradients, learn
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.fake_tensors import FakeTensors
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.workload import Workload
from vlm_rl.rollout.drawing import draw
from vlm_rl.rollout.room import tensors_of
from vlm_rl.rollout.shared_cache import can_share
from vlm_rl.rollout.slots import prefilled
from vlm_rl.types import ImageFeatures, ImageInput, Images, MiniBatch, QueryBatch, Response, ResponseBatch, Samples, extended

TRACED_TOKENS = 2  # of a response: the scores of one token live on while those of the next are made


def trace(policy: Policy, *, workload: Workload) -> list[Phase]:
    """In the order of a generation step that is not the first one: the optimizer has its states. `policy` is on the meta device and
    has fake weights afterwards."""
    return _Tracer(policy, workload=workload).trace()


class _Tracer:
    def __init__(self, policy: Policy, *, workload: Workload) -> None:
        self._policy, self._workload, self._fakes = policy, workload, FakeTensors()
        self._label = self._fakes.tracker.label
        self._phases: dict[str, Phase] = {}
        policy.sharing.is_taken_for_granted = True
        if workload.algorithm.needs_reference:
            policy.keep_reference()
        for module, name in ((policy, names.WEIGHTS), (policy.reference, names.REFERENCE)):
            if module is not None:
                self._fakes.replace(module)
                self._label(module.buffers(), "activations")
                self._label(module.parameters(), name)
                self._label((value for weight in module.parameters() for value in constants(weight)), name)
        self._fakes.tracker.label_of_width[len(policy.banned)] = names.LOGITS
        policy.vlm.model.register_forward_hook(self._label_cache, with_kwargs=True)
        self._prompt, images = PromptEncoder(policy=policy, dataset=workload.dataset).with_pixels(workload.prompts.row)
        inputs = (images and images.inputs) or {}
        self._pixels = {name: self._fakes.fake(v) if v.is_floating_point() else v for name, v in inputs.items()}

    def trace(self) -> list[Phase]:
        self._policy.train()
        with self._fakes:
            buckets = self._buckets()
            optimizer = self._optimizer()
            features = self._encode()
            if self._workload.forward_batch_size is not None:
                self._sample(features)
            self._score(features)
            self._update(features if self._policy.vision_is_frozen else None, optimizer)
        del buckets
        return list(self._phases.values())

    def _buckets(self) -> list[Tensor]:
        """What several ranks add up their gradients in, beside the gradients and for the whole run."""
        buckets = [torch.empty_like(p) for p in self._policy.trained_parameters if self._workload.num_ranks > 1]
        self._label(buckets, names.BUCKETS)
        return buckets

    def _optimizer(self) -> torch.optim.Optimizer:
        """With the states that its first step makes."""
        optimizer = self._policy.optimization.optimizer(parts.trained(self._policy.vlm), scale=1.0)
        for parameter in self._policy.trained_parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        states = (value for state in optimizer.state.values() for value in state.values())
        self._label((value for value in states if isinstance(value, Tensor)), names.OPTIMIZER)
        return optimizer

    @torch.no_grad()
    def _encode(self) -> ImageFeatures | None:
        """The images of one prompt through the vision tower; None where there are none, or the model takes no features."""
        if not self._pixels or not self._policy.takes_features:
            return None
        images = self._images(None, count=1)
        with self._phase(names.VISION, num_sequences=1), self._policy.autocast():
            return vision.features_of(self._policy.vlm, images[0])

    @torch.no_grad()
    def _sample(self, features: ImageFeatures | None) -> None:
        """Step II: the prompts, the first tokens, and the last ones, when the cache is fullest."""
        workload, policy = self._workload, self._policy
        num_responses, max_new_tokens = workload.chunk * workload.algorithm.group_size, workload.dataset.max_new_tokens
        images = self._images(features, count=workload.chunk)
        policy.vlm.eval()
        device = torch.device("cuda" if workload.on_gpu else "cpu")
        is_shared = can_share(policy, device=device)  # else what was written may as well be part of two prompts
        for written, name in ((0, names.FIRST_TOKENS), (max(0, max_new_tokens - TRACED_TOKENS), names.LAST_TOKENS)):
            in_prompt = 0 if is_shared else written
            few = min(2, workload.chunk) if in_prompt and num_responses % 2 == 0 else workload.chunk
            queries, samples, tokens = (
                self._queries(images[:few], written=in_prompt),
                num_responses // few,
                max_new_tokens - in_prompt,
            )
            with policy.autocast(), summed_weights(policy.vlm):
                with self._phase(names.PREFILL, num_sequences=few):
                    for slots in prefilled(policy, queries, num_samples=samples, num_tokens=tokens, device=device):
                        self._label(slots.kept, names.KV_CACHE)
                slots.end += written - in_prompt
                numbers = torch.zeros(num_responses, dtype=torch.float64)
                with self._phase(name, num_sequences=num_responses):
                    for _ in range(TRACED_TOKENS):
                        scores = policy.next_token_logprobs(slots.hidden, temperature=policy.temperature)
                        slots.decode(draw(scores, numbers, top_p=1.0))
        policy.vlm.train()

    def _score(self, features: ImageFeatures | None) -> None:
        """Step III: a batch without gradients."""
        workload, max_tokens = self._workload, self._policy.optimization.forward_batch_tokens
        count, of_each = self._together(
            max_tokens, num_responses=workload.num_responses, together=workload.algorithm.group_size
        )
        images = self._images(features, count=count)
        samples = self._samples(images[:count], of_each=of_each)
        with self._phase(names.SCORING, num_sequences=count * of_each):
            response_logprobs(self._policy, samples)

    def _update(self, features: ImageFeatures | None, optimizer: torch.optim.Optimizer) -> None:
        """Step IV: two micro-batches if a mini-batch has several, then the optimizer."""
        workload, policy = self._workload, self._policy
        together = workload.algorithm.kept_together(workload.num_responses)
        count, of_each = self._together(
            policy.optimization.micro_batch_tokens, num_responses=workload.mini_batch, together=together
        )
        passes = 2 if workload.mini_batch > count * of_each else 1  # a second one finds the gradients of the first
        images = self._images(features, count=count)
        micro_batch = self._micro_batch(self._samples(images[:count], of_each=of_each))
        with self._phase(names.UPDATE, num_sequences=count * of_each * passes):
            for _ in range(passes):
                learn(policy, workload.algorithm, micro_batch, backward=lambda loss: torch.autograd.backward([loss]))
                self._label((p.grad for p in policy.trained_parameters if p.grad is not None), names.GRADIENTS)
        with self._phase(names.OPTIMIZER_STEP, num_sequences=workload.mini_batch):
            clip_gradients(policy)
            optimizer.step()

    def _queries(self, images: Images, *, written: int = 0) -> QueryBatch:
        """The longest prompt for each entry of `images`, with so many text tokens after it. The first one of several is a token shorter:
        there is padding, as there is in a run."""
        prompt, count = self._prompt, len(images)
        later = (prompt.position_ids.amax() + 1 + torch.arange(written)).expand(len(prompt.position_ids), -1)
        ids = torch.cat([prompt.ids, prompt.ids[-1:].expand(written)])
        types = torch.cat([prompt.types, prompt.types.new_zeros(written)])
        positions = torch.cat([prompt.position_ids, later], dim=1)[:, None].expand(-1, count, -1)
        mask = torch.ones(count, len(ids), dtype=torch.bool)
        mask[0, 0] = count == 1
        return QueryBatch(
            rows=(self._workload.prompts.row,) * count,
            indices=tuple(range(count)),
            step=0,
            query_ids=ids.expand(count, -1),
            attention_mask=mask,
            mm_token_type_ids=types.expand(count, -1),
            position_ids=positions,
            next_positions=positions.amax(dim=(0, 2)) + 1,
            images=images,
        )

    def _together(self, max_tokens: int, *, num_responses: int, together: int) -> tuple[int, int]:
        """Prompts and responses to each that go through the model at once."""
        if together > 1 and self._policy.sharing.is_possible(self._policy):
            return self._workload.shared_within(max_tokens, num_responses=num_responses, together=together)
        return min(num_responses, self._workload.rows_within(max_tokens)), 1

    def _samples(self, images: Images, *, of_each: int) -> Samples:
        """So many responses of full length to each prompt."""
        queries, num_tokens = self._queries(images), self._workload.dataset.max_new_tokens
        count = len(images) * of_each
        mask = torch.ones(count, num_tokens, dtype=torch.bool)
        responses = ResponseBatch(
            num_samples=of_each,
            response_ids=queries.query_ids[:1, -1:].expand(count, num_tokens),
            response_mask=mask,
            engine_logprobs=torch.zeros(mask.shape),
            responses=(Response(text="", finish_reason="length", num_tokens=num_tokens),) * count,
        )
        return concatenate(queries, responses, scores=torch.zeros(count))

    def _micro_batch(self, samples: Samples) -> MiniBatch:
        algorithm, zeros = self._workload.algorithm, torch.zeros(samples.response_mask.shape)
        return extended(
            samples,
            MiniBatch,
            old_logprobs=zeros if algorithm.needs_old_logprobs else None,
            ref_logprobs=zeros if algorithm.needs_reference else None,
            rollout_weights=None if algorithm.rollout_correction.level == "none" else zeros,
            advantages=zeros,
            token_weights=zeros,
        )

    def _images(self, features: ImageFeatures | None, *, count: int) -> tuple[Any, ...]:
        """The images of so many different prompts; on a CPU those of the whole generation step, which wait in the same memory."""
        on_gpu, once = self._workload.on_gpu, self._policy.encodes_images_once
        if not self._pixels:
            return (None,) * count
        images, are_encoded_now = [], once and features is None
        for place in range(count if on_gpu or are_encoded_now else max(count, self._workload.num_queries)):
            own = features if place < count or once else None
            if own is not None and not on_gpu and place:
                own = ImageFeatures(
                    pooled=tree_map_only(Tensor, torch.clone, own.pooled),
                    deepstack=tree_map_only(Tensor, torch.clone, own.deepstack),
                )
            keeps_pixels = own is None or not (on_gpu or once or place >= self._workload.num_queries)
            inputs = {name: value.clone() for name, value in self._pixels.items()} if keeps_pixels else None
            images.append(ImageInput(key=str(place), inputs=inputs, features=own))
            self._label([*(inputs or {}).values(), *(own.tensors if own is not None else ())], names.IMAGES)
        return tuple(images)

    @contextmanager
    def _phase(self, name: str, *, num_sequences: int) -> Iterator[None]:
        """Only the first one of a name counts: the prompts that fill the cache for the last tokens are longer than any in a run."""
        tracker = self._fakes.tracker
        resident = tracker.start()
        yield
        trained = (key for key, parameter in self._policy.vlm.named_parameters() if parameter.requires_grad)
        found = Phase(
            name=name,
            parts=tracker.peak(),
            resident=resident,
            operations=tuple(tracker.operations),
            num_sequences=num_sequences,
            only_adapters=all("lora_" in key for key in trained),
        )
        self._phases.setdefault(name, found)

    def _label_cache(self, module: nn.Module, inputs: Any, named: Mapping[str, Any], output: Any) -> None:
        if named.get("past_key_values") is not None:
            self._label(tensors_of(named["past_key_values"]), names.KV_CACHE)
