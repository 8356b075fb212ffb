"""What is asked of a sampling server, and what its answer says: chat completions as vLLM has them, with token ids both ways."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from vlm_rl.models.prompts import chat
from vlm_rl.rollout.engine import EngineMismatch, SamplingSettings

FORBIDDEN = -100  # added to the logit of an id that is never to be written
SHOWN_TOKENS = 12  # around the first difference of two prompts


@dataclass(frozen=True, kw_only=True)
class Written:
    """One response as a server sent it."""

    ids: list[int]
    logprobs: list[float]  # of each id, nats


def content(prompt: str, pictures: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """The user's turn: text, and at each marker a picture as PNG, which keeps every pixel."""
    (turn,) = chat(prompt)
    shown = iter(pictures)
    parts: Any = turn["content"]
    return [
        {"type": "image_url", "image_url": {"url": _url(next(shown))}} if part["type"] == "image" else part for part in parts
    ]


def _url(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def sampling(settings: SamplingSettings, *, banned: Sequence[int], stop_ids: Sequence[int]) -> dict[str, Any]:
    """How a server is to sample. All that changes a distribution is said: it would take the model's own defaults else."""
    neutral = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1}
    return neutral | {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": list(stop_ids),
        "logit_bias": {str(i): FORBIDDEN for i in banned},
        "logprobs": True,
        "top_logprobs": 0,
        "return_token_ids": True,
        "add_generation_prompt": True,
    }


def read(reply: Mapping[str, Any], *, url: str) -> Written:
    """The response in a reply. Raise EngineMismatch where it has not what was asked for."""
    try:
        (choice,) = reply["choices"]
        ids = [int(i) for i in choice["token_ids"]]
        logprobs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError, ValueError):
        raise EngineMismatch(
            f"{url} sends no token ids with log-probabilities. return_token_ids needs vLLM 0.11 or newer; nothing between it and this "
            "run may change its answers."
        ) from None
    if len(ids) != len(logprobs):
        raise EngineMismatch(
            f"{url} sent {len(ids)} token ids with {len(logprobs)} log-probabilities: one for each was asked for."
        )
    return Written(ids=ids, logprobs=logprobs)


def check_model(reply: Mapping[str, Any], *, asked: str, url: str) -> None:
    """Raise EngineMismatch where another model or adapter answered than the one that was asked."""
    if reply.get("model") != asked:
        raise EngineMismatch(
            f"{url} was asked for {asked}, and {reply.get('model')} answered: it samples from other weights than those that are trained."
        )


def check_prompt(reply: Mapping[str, Any], ours: Sequence[int], *, url: str, row: str, tokenizer: Any) -> None:
    """Raise EngineMismatch with both texts at the first difference of the prompt that a server read from ours."""
    theirs = reply.get("prompt_token_ids")
    if theirs == list(ours):
        return
    if not isinstance(theirs, list):
        raise EngineMismatch(f"{url} does not say which prompt it read. return_token_ids needs vLLM 0.11 or newer.")
    pairs = zip([*ours, None], [*theirs, None], strict=False)
    place = next(i for i, (one, other) in enumerate(pairs) if one != other)

    def near(ids: Sequence[int]) -> str:
        text = tokenizer.decode(ids[max(0, place - SHOWN_TOKENS) : place + SHOWN_TOKENS])
        return f"{text!r}, {len(ids)} tokens"

    raise EngineMismatch(
        f"{url} read another prompt of row {row} than the trainer, from token {place} on.\n"
        f"  trainer: {near(ours)}\n  server:  {near(theirs)}\n"
        f"{_likely(ours, theirs, place=place)}"
    )


def _likely(ours: Sequence[int], theirs: Sequence[int], *, place: int) -> str:
    """The likely cause of a difference."""
    common = min(len(ours), len(theirs))
    repeated = place > 0 and place < common and ours[place - 1] in (ours[place], theirs[place])
    if repeated:  # within the tokens of an image
        return (
            "It is in the tokens of an image: the server resizes it otherwise. Start it with the pixel budget of model.processor "
            "(--mm-processor-kwargs), as `python -m vlm_rl.commands.serve_flags` prints it."
        )
    return (
        "Likely causes: another chat template (--chat-template FILE), its arguments (model.chat_template), the format of messages "
        "(--chat-template-content-format openai), or another tokenizer (--tokenizer, --tokenizer-revision)."
    )
