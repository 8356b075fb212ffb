"""One family from its first forward to merged weights: every number against plain Transformers, plain PEFT or another run."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from exported_runs import export_of
from peft import PeftModel
from tiny_commands import content, only_run
from tiny_runs import gradients, largest_difference, pixels_stay, trembling
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from families.trials import by_transformers, forced, processed, settings_of, with_features
from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models.vision import VisionCache
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.types import select

NUM_STEPS = 5
RESUMED_AT = 3
RUN = (
    *("dataset.epochs=1", "reward=random", "algorithm.score_at=last_token", "num_threads=1"),
    *("dataset.source.val_rows=2", "dataset.source.test_rows=2", "evaluation.scheme.splits=[val,test]"),
    *("evaluation.pass_at_1_samples=1", "logger=none"),
    *("dataset.max_prompt_tokens=4096", "checkpoint.keep_every=1"),
)
HOT = SamplingSettings(temperature=5.0, top_p=1.0, max_new_tokens=12, num_samples=2)
Train = Callable[[Sequence[str], Path], None]  # `python train.py ...` in a folder; raises where it does not end well


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The largest differences that were found: of log-probabilities in nats, of gradients in units of their largest entry."""

    forward: float
    gradients: float
    features: float | None  # None: the family gets pixels at every forward
    engine: float
    resumed_is_equal: bool
    plain_peft: float
    merged: float


def whole_trial(
    family: str,
    folder: Path,
    rows: list[Row],
    *,
    work: Path,
    train: Train,
    more: Sequence[str] = (),
    loading: Mapping[str, Any] = MappingProxyType({}),
) -> Trial:
    """All of it, for the family whose small model lies in `folder`; `rows` have no, one and several images.

    `more` are further words of the command line, and `loading` is how plain Transformers loads such a base.
    """
    words = [*settings_of(family, folder), *more]
    experiment = build(composed(words))
    try:
        trembling(experiment.policy)
        forward, gradient, features = _forward(experiment, rows)
        engine = _engine(experiment, rows)
    finally:
        experiment.reward.close()
    run, is_equal = _run_and_resume([*words, *RUN], work=work, train=train)
    plain = PeftModel.from_pretrained(_base(folder, **loading), _newest(run))
    wanted = _next_token(plain, experiment, rows)
    ours = _ours_next_token(experiment, _newest(run), rows)
    export_of(run, work / "merged", merge=True, dtype="float32")
    merged = _next_token(_base(work / "merged"), experiment, rows)
    return Trial(
        forward=forward,
        gradients=gradient,
        features=features,
        engine=engine,
        resumed_is_equal=is_equal,
        plain_peft=_largest(wanted, ours),
        merged=_largest(wanted, merged),
    )


def _forward(experiment: Experiment, rows: list[Row]) -> tuple[float, float, float | None]:
    """Forward and gradients of a padded batch, from pixels, against the model's own; features against pixels.

    Its own of the padded batch or of each row alone, whichever is nearer: some families count the positions of padding too and rotate by
    other angles, some cut a text into chunks from its padded beginning, and both round otherwise.
    """
    policy = experiment.policy
    policy.vision_cache = VisionCache(max_bytes=0)
    pixels = forced(experiment, rows)
    together = by_transformers(experiment, rows, pixels)
    together.sum().backward()
    of_batch = gradients(policy)
    expected = torch.zeros_like(pixels.engine_logprobs)
    for i, row in enumerate(rows):
        own = by_transformers(experiment, [row], select(pixels, torch.tensor([i])))
        own.sum().backward()
        expected[i, : own.shape[1]] = own[0].detach()
    theirs = gradients(policy)
    found = policy.statistics(pixels).logprobs
    found.sum().backward()
    ours = gradients(policy)
    features = None
    if policy.takes_features:
        logprobs = policy.statistics(with_features(experiment, pixels)).logprobs
        features = min(_largest([logprobs], [own]) for own in (expected, together))
        policy.zero_grad(set_to_none=True)
    forward = min(_largest([found], [own]) for own in (expected, together))
    return forward, min(largest_difference(own, ours) for own in (theirs, of_batch)), features


def _engine(experiment: Experiment, rows: list[Row]) -> float:
    """What the engine said of its own responses, by a cache, against the trainer; many stop ids, so that lengths differ."""
    policy = experiment.policy
    stops = policy.vlm.generation_config.eos_token_id
    policy.vlm.generation_config.eos_token_id = [i for i in range(0, len(policy.banned), 8) if not policy.banned[i]]
    before, policy.temperature = policy.temperature, HOT.temperature
    queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=0)
    two_at_once = 2 * queries.query_ids.shape[1]  # so the caches of two forwards are merged
    policy.optimization = replace(policy.optimization, forward_batch_tokens=two_at_once)
    engine = HuggingFaceEngine(forward_batch_size=256)
    engine.load(policy)
    seeds = np.array([[stream_seed(0, "families", row.id, k) for k in range(2)] for row in rows], dtype=np.int64)
    responses = engine.generate(queries, HOT, seeds)
    samples = concatenate(queries, responses, scores=torch.zeros(len(responses.responses)))
    difference = responses.engine_logprobs - response_logprobs(policy, samples)
    policy.temperature, policy.vlm.generation_config.eos_token_id = before, stops
    return float(difference.abs().max())


def _run_and_resume(words: list[str], *, work: Path, train: Train) -> tuple[Path, bool]:
    """Five steps; and the same from the third on, as after a power cut."""
    words = [*words, "study=whole"]
    train(words, work)
    whole = only_run(work, study="whole")
    expected = content(whole)
    assert len(list((whole.path / "checkpoints").glob("step-*"))) == NUM_STEPS
    for step in range(RESUMED_AT + 1, NUM_STEPS + 1):
        shutil.rmtree(whole.path / "checkpoints" / f"step-{step:06d}")
    manifest = json.loads((whole.path / "manifest.json").read_text())
    whole.write_manifest(manifest | {"status": "running"})
    train(words, work)
    return whole.path, content(whole) == expected


def _newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step-*"))


def _base(folder: Path, **how: Any) -> nn.Module:
    model: nn.Module = AutoModelForImageTextToText.from_pretrained(folder, **how)
    return model.eval()


@torch.no_grad()
def _next_token(model: nn.Module, experiment: Experiment, rows: list[Row]) -> list[Tensor]:
    """Log-probabilities after each prompt by plain Transformers."""
    prompts = [processed(experiment.policy.processor, [experiment.dataset.prompt_for(row)], [row]) for row in rows]
    return [_allowed(model(**prompt).logits[0, -1].log_softmax(-1), experiment) for prompt in prompts]


@torch.no_grad()
def _ours_next_token(experiment: Experiment, checkpoint: Path, rows: list[Row]) -> list[Tensor]:
    """The same by a policy that took the checkpoint."""
    policy = experiment.policy
    policy.load(checkpoint)
    found = []
    for row in rows:
        with pixels_stay():
            queries = experiment.encoder.batch([row], indices=[0], step=0)
        hidden = policy.hidden(
            ids=queries.query_ids,
            mask=queries.attention_mask,
            types=queries.mm_token_type_ids,
            positions=queries.position_ids,
            images=queries.images,
            use_cache=False,
        )
        found.append(_allowed(policy.next_token_logprobs(hidden[:, -1], temperature=1.0)[0], experiment))
    return found


def _allowed(logprobs: Tensor, experiment: Experiment) -> Tensor:
    """Over the ids that the policy may write."""
    return logprobs[~experiment.policy.banned].log_softmax(-1)


def _largest(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(left, right, strict=True))
