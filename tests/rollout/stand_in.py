"""A stand-in for a vLLM server: the same HTTP calls, answered by our own sampling loop on the tiny model, with faults on demand.

By default it answers one request at a time, so that a response depends on its request alone.
`python tests/rollout/stand_in.py --port 8000` runs it.
"""

import argparse
import asyncio
import base64
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import uvicorn
from stand_in_writers import Asked, DiceWriter, PolicyWriter, Reply, Sent, Writer

from vlm_rl.datasets.row import Row
from vlm_rl.rollout.engine import SamplingSettings

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(kw_only=True)
class StandIn:
    """The ASGI application. A fault comes with its probability, at each chat completion."""

    writer: Writer
    name: str = "tiny"
    max_model_len: int = 4096
    max_lora_rank: int = 64
    key: str | None = None
    seconds_per_token: float = 0.0  # of each response, many at a time
    faults: dict[str, float] = field(default_factory=dict)
    adapters: list[str] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)  # model and seed of each chat completion
    together: int = 1  # requests in one batch; with more, a response depends on its neighbours by rounding
    waiting: list[tuple[Asked, "asyncio.Future[Reply]"]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                what = (await receive())["type"]
                await send({"type": f"{what}.complete"})
                if what == "lifespan.shutdown":
                    return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if self._happens("hang"):
            await asyncio.sleep(3600)
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}" and scope["path"] != "/health":
            await _answer(send, 401, {"error": {"message": "Unauthorized"}})
            return
        call = getattr(self, f"_{scope['path'].rpartition('/')[2]}", None)
        if call is None:
            await _answer(send, 404, {"detail": "Not Found"})
            return
        await call(json.loads(body or b"{}"), send)

    def _happens(self, fault: str) -> bool:
        return self.dice.random() < self.faults.get(fault, 0.0)

    async def _written(self, asked: Asked) -> Reply:
        """In one batch with others that wait, up to `together` of them; one after the other by default."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, answer))
        while not answer.done():
            async with self.lock:
                batch = [pair for pair in self.waiting if pair[0].together == asked.together and not answer.done()]
                batch = batch[: self.together]
                if batch:
                    self.waiting = [pair for pair in self.waiting if pair not in batch]
                    await self._write(batch)
        return answer.result()

    async def _write(self, batch: list[tuple[Asked, "asyncio.Future[Reply]"]]) -> None:
        try:
            replies = await asyncio.to_thread(self.writer.write, [asked for asked, _ in batch])
        except KeyError as error:
            for _, answer in batch:
                answer.set_exception(error)
            return
        for (_, answer), reply in zip(batch, replies, strict=True):
            answer.set_result(reply)

    async def _health(self, body: Any, send: Send) -> None:
        await _answer(send, 200, None)

    async def _faults(self, body: dict[str, float], send: Send) -> None:
        self.faults = body
        await _answer(send, 200, None)

    async def _asked(self, body: Any, send: Send) -> None:
        await _answer(send, 200, {"asked": self.asked, "adapters": self.adapters})

    async def _models(self, body: Any, send: Send) -> None:
        base = {"id": self.name, "parent": None, "max_model_len": self.max_model_len}
        await _answer(send, 200, {"data": [base, *({"id": name, "parent": self.name} for name in self.adapters)]})

    async def _load_lora_adapter(self, body: dict[str, str], send: Send) -> None:
        name, path = body["lora_name"], Path(body["lora_path"])
        if name in self.adapters:
            message = f"The lora adapter '{name}' has already been loaded."
            await _answer(send, 400, {"error": {"message": message}})
        elif not path.exists():
            await _answer(send, 404, {"error": {"message": f"Loading lora {name} failed: No adapter found for {path}"}})
        elif (rank := json.loads((path / "adapter_config.json").read_text())["r"]) > self.max_lora_rank:
            message = f"Worker failed with error 'LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}.'"
            await _answer(send, 500, {"error": {"message": f"Call to add_lora method failed: {message}"}})  # as vLLM does
        else:
            async with self.lock:
                await asyncio.to_thread(self.writer.load, name, str(path))
            self.adapters.append(name)
            await _answer(send, 200, None)

    async def _unload_lora_adapter(self, body: dict[str, str], send: Send) -> None:
        if body["lora_name"] in self.adapters:
            self.adapters.remove(body["lora_name"])
            async with self.lock:
                self.writer.unload(body["lora_name"])
        await _answer(send, 200, None)

    async def _completions(self, body: dict[str, Any], send: Send) -> None:
        model = body["model"]
        if self._happens("forget") and model in self.adapters:
            await self._unload_lora_adapter({"lora_name": model}, _nowhere)
        if model != self.name and model not in self.adapters:
            await _answer(send, 404, {"error": {"message": f"The model `{model}` does not exist."}})
            return
        self.asked.append((model, body["seed"]))
        if self._happens("status_500"):
            await _answer(send, 500, {"error": {"message": "EngineCore died"}})
            return
        if self._happens("slow"):
            await asyncio.sleep(self.faults["seconds"])
        adapter = None if model == self.name or self._happens("stale") else model
        row = _row(body["messages"])
        settings = SamplingSettings(
            temperature=body["temperature"], top_p=body["top_p"], max_new_tokens=body["max_tokens"], num_samples=1
        )
        asked = Asked(row=row, settings=settings, seed=body["seed"], adapter=adapter, is_raw=self._happens("raw"))
        try:
            reply = await self._written(asked)
        except KeyError:  # another request has made the server forget it
            await _answer(send, 404, {"error": {"message": f"The model `{model}` does not exist."}})
            return
        await asyncio.sleep(self.seconds_per_token * len(reply.ids))
        if self._happens("drop"):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            return  # the server closes the connection
        prompt = [*reply.prompt[:-1], 7] if self._happens("wrong_ids") else reply.prompt
        logprobs = [{"token": "", "logprob": value} for value in reply.logprobs]
        choice = {"token_ids": reply.ids, "logprobs": {"content": logprobs}, "finish_reason": "stop"}
        answered = self.name if self._happens("other_model") else model
        await _answer(send, 200, {"model": answered, "prompt_token_ids": prompt, "choices": [choice]})


async def _nowhere(message: dict[str, Any]) -> None:
    """Where nobody waits for an answer."""


async def _answer(send: Send, status: int, content: Any) -> None:
    kind = b"application/json" if content is not None else b"text/plain"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"" if content is None else json.dumps(content).encode()})


def _row(messages: list[dict[str, Any]]) -> Row:
    """The prompt of a request as a row, with a marker at each picture."""
    ((message),) = messages
    parts = message["content"]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    text = "".join("<image>" if part["type"] == "image_url" else part["text"] for part in parts)
    return Row(id="asked", question=text, images=tuple(map(_picture, images)), answer="", solution="")


@cache
def _picture(url: str) -> Sent:
    return Sent(key=str(hash(url)), png=base64.b64decode(url.removeprefix("data:image/png;base64,")))


def main() -> None:
    """A server until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds-per-token", type=float, default=0.0)
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--key")
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--dice", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    app = StandIn(
        writer=DiceWriter() if given.dice else PolicyWriter(forward_batch_size=given.together),
        together=given.together,
        seconds_per_token=given.seconds_per_token,
        faults=given.faults,
        key=given.key,
    )
    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
