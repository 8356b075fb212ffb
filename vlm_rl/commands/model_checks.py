"""Checks of a loaded model before its first step: in a family that nobody has tried, each of these faults would be silent.

One prompt of each kind (no image, one, several) with a forced response goes through the model's own forward in Transformers, through
the forward that trains, and through the cache that sampling uses. preflight makes the same checks on a small random model.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.commands.model_forwards import (
    NUM_TOKENS,
    RESPONSE,
    LoadedModel,
    by_sampling,
    by_training,
    by_transformers,
    examples,
    response_ids,
)
from vlm_rl.models.family import OF_TEXT
from vlm_rl.models.policy import Policy

FLOAT32_TOLERANCE = 1e-3  # nats; families that are right differ by 1e-5
CAUSAL_TOLERANCE = {True: 1e-4, False: 0.05}  # nats, by whether the forward is in float32; 0 but for rounding among experts


class ForwardMismatch(ValueError):
    """A forward of ours differs from the model's own forward in Transformers."""


def check_model(model: LoadedModel) -> None:
    """Make all checks and print what they took; raise the ValueError of the first that refuses."""
    begun = time.perf_counter()
    with model.policy.layout.gathered():
        check_outputs(model)
        largest = check_forward(model)
        check_causality(model)
        check_norms(model)
    if not ranks.is_first():
        return
    print(
        f"{_name(model)}: training and sampling agree with its own forward in Transformers ({largest:.1g} nats on {len(model.rows)} "
        f"prompts), and no token sees a later one. Checked in {time.perf_counter() - begun:.1f} s.",
        flush=True,
    )


def model_refusals(model: LoadedModel) -> list[str]:
    """The sentences of all checks that refuse."""
    sentences = []
    for check in (check_outputs, check_forward, check_causality, check_norms):
        try:
            check(model)
        except ValueError as error:
            sentences.append(str(error))
    return list(dict.fromkeys(sentences))  # code that fails, fails in more than one


def check_outputs(model: LoadedModel) -> None:
    """Raise ValueError for an output of the processor that is as long as the prompt and of which nothing is known here.

    It would be taken for a part of the images, and be too short as soon as a response follows. Found by a longer prompt with the same
    images: what grows with it is no image.
    """
    prompts = model.encoder.prompts
    for row in examples(model.rows):
        short, long = (
            prompts.process(longer) for longer in (row, replace(row, question=f"{row.question} {RESPONSE} {RESPONSE}"))
        )
        grown = [name for name in short if name not in OF_TEXT and short[name].shape != long[name].shape]
        if grown:
            raise ValueError(
                f"{_name(model)}: its processor returns {', '.join(grown)}, which is as long as the prompt; nothing here hands it on "
                "beyond the prompt, to the tokens of a response. Take another model (model.name)."
            )


def check_forward(model: LoadedModel) -> float:
    """Raise ForwardMismatch where training's forward or the cache that sampling uses is not the model's own forward.

    Return the largest difference otherwise, in nats.
    """
    differences = forward_differences(model)
    for use, of_rows in differences.items():
        worst = max(range(len(of_rows)), key=lambda i: math.inf if math.isnan(of_rows[i]) else of_rows[i])
        limit = _limit(model)
        if not of_rows[worst] <= limit:  # NaN is a mismatch too
            raise ForwardMismatch(
                f"After the prompt of row {model.rows[worst].id!r} the log-probabilities in {use} differ by {of_rows[worst]:.3g} nats "
                f"(mean under the model, over {NUM_TOKENS} tokens) from {_name(model)}'s own forward, more than {_limit_in_words(model)}. "
                "This family needs something that vlm_rl/models/family.py does not hand in: positions, token types, masks or a kind of "
                "cache. It cannot be trained or evaluated here; take another model (model.name)."
            )
    return max(max(of_rows) for of_rows in differences.values())


def check_causality(model: LoadedModel) -> None:
    """Raise ValueError where a later token of a response moves the probabilities of an earlier one."""
    with _quiet(model, "a forward over prompt and response"):
        ids = response_ids(model)
        half = len(ids) // 2
        others = [*ids[:half], *ids[half:][::-1]]
        before, after = (by_training(model, given)[:, : half + 1] for given in (ids, others))
        moved = _mean_difference(before, after, banned=model.policy.banned).amax(1)
    worst = int(moved.argmax())
    if not moved[worst] <= CAUSAL_TOLERANCE[_is_float32(model.policy)]:
        raise ValueError(
            f"{_name(model)}: after the prompt of row {model.rows[worst].id!r} other tokens later in a response change the "
            f"log-probabilities of earlier ones, by {moved[worst]:.3g} nats. Its tokens see those that follow (as in a prefix that "
            "is read both ways), so what is trained would not be what was sampled. Take a model with causal attention (model.name)."
        )


def check_norms(model: LoadedModel) -> None:
    """Raise ValueError where training would normalise by the batch and change running statistics."""
    vlm, training = model.policy.vlm, model.policy.vlm.training
    vlm.train()
    moving = [path for path, norm in vlm.named_modules() if norm.training and getattr(norm, "running_mean", None) is not None]
    vlm.train(training)
    if moving:
        raise ValueError(
            f"{_name(model)}: {len(moving)} norms with running statistics would change while training ({moving[0]}, ...). They must stay "
            "as they were loaded (module.eval()), or training would not see the probabilities that responses were sampled with."
        )


def forward_differences(model: LoadedModel) -> dict[str, list[float]]:
    """For training and for sampling: the mean absolute difference from the model's own forward after each prompt, in nats."""
    banned = model.policy.banned
    with _quiet(model, "a forward over prompt and response"):
        ids = response_ids(model)
        own = [by_transformers(model, row, ids) for row in model.rows]
        found = {"training": by_training(model, ids), "sampling": by_sampling(model, ids)}
        return {
            use: [
                float(_mean_difference(theirs, ours, banned=banned).mean()) for theirs, ours in zip(own, of_rows, strict=True)
            ]
            for use, of_rows in found.items()
        }


def _mean_difference(theirs: Tensor, ours: Tensor, *, banned: Tensor) -> Tensor:
    """Of each token: the absolute difference of log-probabilities, averaged under the model."""
    return (theirs.exp() * (ours - theirs).masked_fill(banned[: ours.shape[-1]], 0).abs()).sum(-1)


@contextlib.contextmanager
def _quiet(model: LoadedModel, what: str) -> Iterator[None]:
    """In evaluation mode, without gradients; raise ValueError naming the class for whatever its code raises."""
    vlm, training = model.policy.vlm, model.policy.vlm.training
    vlm.eval()
    try:
        with torch.no_grad():
            yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{_name(model)} cannot be trained or evaluated here: {what} fails ({type(error).__name__}: {str(error)[:500]}). "
            "VLM_RL_TRACEBACK=1 shows where. Take another model (model.name)."
        ) from error
    finally:
        vlm.train(training)


def _is_float32(policy: Policy) -> bool:
    """Whether nothing in a forward is rounded to fewer digits."""
    rounds = policy.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
    dtypes = {p.dtype for p in policy.vlm.parameters()} - {torch.uint8}  # in 4 bits: their products are those of the others
    return not rounds and policy.precision.autocast_to is None and dtypes == {torch.float32}


def _limit(model: LoadedModel) -> float:
    return min(model.tolerance, FLOAT32_TOLERANCE) if _is_float32(model.policy) else model.tolerance


def _limit_in_words(model: LoadedModel) -> str:
    is_own = _limit(model) < model.tolerance
    return f"float32 explains ({FLOAT32_TOLERANCE:g})" if is_own else f"parity.tolerance={model.tolerance:g}"


def _name(model: LoadedModel) -> str:
    return type(model.policy.vlm).__name__
