"""A run's connection to its sampling servers: the thread that talks to them, and the versions of the adapter that they hold."""

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.datasets.row import Row
from vlm_rl.models.exact_grid import ExactGrid
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.rollout import server_messages
from vlm_rl.rollout.adapter_versions import AdapterVersions
from vlm_rl.rollout.engine import Sampling, SamplingSettings
from vlm_rl.rollout.server import Adapter
from vlm_rl.rollout.server_messages import Written
from vlm_rl.rollout.server_pool import ServerPool
from vlm_rl.rollout.written import finish
from vlm_rl.types import QueryBatch, ResponseBatch

PATIENCE_S = 30.0  # at the end of a run
T = TypeVar("T")
Sourced = tuple[Written, str]  # a response, and the server that sent it


class Connection:
    """Requests of a whole batch begin in one call and are waited for in another, so that sampling can go on while the trainer computes."""

    def __init__(
        self, pool: Callable[[], ServerPool], *, policy: Policy, prompts: Prompts, versions: AdapterVersions, model: str | None
    ) -> None:
        self._policy, self._prompts, self.versions = policy, prompts, versions
        self._grid = ExactGrid(processor=policy.processor)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sampling servers", daemon=True)
        self._thread.start()
        self._adapter: Adapter | None = None  # None: the untrained model
        self._in_use: dict[Adapter, int] = defaultdict(int)  # requests by adapters that were loaded, and are not removed
        self.base = model or policy.name
        try:
            self.pool = self.wait_for(self._opened(pool))
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    async def _opened(self, pool: Callable[[], ServerPool]) -> ServerPool:
        made = pool()
        try:
            await made.open()
        except BaseException:
            await made.close()
            raise
        return made

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin work in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work in the loop."""
        future = self.run(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def load(self, policy: Policy) -> None:
        """Have all servers load the adapter of now, and drop those that nobody samples by any more. Every rank must call this."""
        adapter = ranks.from_first(self.versions.written(policy) if ranks.is_first() else None)
        if adapter != self._adapter:
            self._adapter = adapter
            if adapter is not None:
                self._in_use[adapter] += 0
                self.wait_for(self.pool.spread(adapter))
        ranks.gathered(None)  # no rank samples by an older one, but for what it has begun
        self._drop_unused()

    def _drop_unused(self) -> None:
        unused = [adapter for adapter, requests in self._in_use.items() if not requests and adapter != self._adapter]
        for adapter in unused:
            del self._in_use[adapter]
        if ranks.is_first():
            self.wait_for(self.pool.keep_only([*self._in_use]))
            for adapter in unused:
                self.versions.remove(adapter)

    def begin(
        self,
        queries: QueryBatch,
        settings: Sequence[SamplingSettings],
        seeds: Sequence[np.ndarray],
        *,
        in_background: bool = False,
    ) -> Sampling:
        """Begin to sample by the adapter that was loaded last."""
        ids, adapter = prompt_ids(queries), self._adapter
        words = [self.words(setting, adapter=adapter) for setting in settings]
        if adapter is not None:
            self._in_use[adapter] += 1
        future = self.run(self._answers(queries.rows, ids, words, seeds, adapter=adapter, in_background=in_background))

        def taken() -> list[ResponseBatch]:
            try:
                found = future.result()
            except BaseException:
                future.cancel()
                raise
            finally:
                if adapter is not None:
                    self._in_use[adapter] -= 1
            return [self.batch(part, num_samples=setting.num_samples) for part, setting in zip(found, settings, strict=True)]

        return taken

    async def _answers(
        self,
        rows: Sequence[Row],
        ids: Sequence[list[int]],
        words: Sequence[dict[str, Any]],
        seeds: Sequence[np.ndarray],
        **how: Any,
    ) -> list[list[Sourced]]:
        """For each setting the responses, query by query."""
        asked: list[list[asyncio.Task[Sourced]]] = [[] for _ in words]
        for place, row in enumerate(rows):
            turn = self.turn(row)
            for part, word, of_setting in zip(asked, words, seeds, strict=True):
                part += [
                    asyncio.create_task(self._answer(row, ids[place], turn, word | {"seed": int(seed)}, **how))
                    for seed in of_setting[place]
                ]
        tasks = [task for part in asked for task in part]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        return [[task.result() for task in part] for part in asked]

    async def _answer(self, row: Row, ids: list[int], turn: "Turn", words: dict[str, Any], **how: Any) -> Sourced:
        async def body() -> dict[str, Any]:
            return words | {"messages": [{"role": "user", "content": await turn.content()}]}

        answer = await self.pool.ask(body, **how)
        return self.checked(answer.reply, asked=words["model"], row=row, ids=ids, source=answer.source), answer.source

    def words(self, settings: SamplingSettings, *, adapter: Adapter | None) -> dict[str, Any]:
        """A request without its messages."""
        banned = self._policy.banned.nonzero()[:, 0].tolist()
        model = {
            "model": self.base if adapter is None else adapter.name,
            "chat_template_kwargs": dict(self._policy.chat_template),
        }
        return model | server_messages.sampling(settings, banned=banned, stop_ids=self._policy.stop_ids)

    def turn(self, row: Row) -> "Turn":
        """The user's turn of a row."""
        return Turn(self._prompts, row, self._grid)

    def checked(self, reply: Mapping[str, Any], *, asked: str, row: Row, ids: Sequence[int], source: str) -> Written:
        """The response in a reply. Raise EngineMismatch where another adapter answered, or to another prompt."""
        server_messages.check_model(reply, asked=asked, url=source)
        server_messages.check_prompt(reply, ids, url=source, row=row.id, tokenizer=self._policy.processor.tokenizer)
        return server_messages.read(reply, url=source)

    def batch(self, found: Sequence[Sourced], *, num_samples: int) -> ResponseBatch:
        """Responses as Step II has them."""
        written = [response for response, _ in found]
        batch = finish(self._policy, *_padded(written, device=self._policy.device), num_samples)
        return replace(batch, sources=tuple(source for _, source in found))

    def close(self) -> None:
        """Stop what is being sampled, and remove this run's adapters."""

        async def closing() -> None:
            if ranks.is_first():
                await self.pool.keep_only([])
            await self.pool.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        try:
            with contextlib.suppress(TimeoutError):  # of servers that hang: they drop adapters that are not used themselves
                self.run(closing()).result(timeout=PATIENCE_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
        if ranks.is_first():
            self.versions.remove_all()


class Turn:
    """The user's turn of one row, made when its first request is sent, for all samples of the row."""

    def __init__(self, prompts: Prompts, row: Row, grid: ExactGrid) -> None:
        self._prompts, self._row, self._grid = prompts, row, grid
        self._made: asyncio.Task[list[dict[str, Any]]] | None = None

    async def content(self) -> list[dict[str, Any]]:
        """Its parts, made in another thread when they are first needed."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._content))
        return await asyncio.shield(self._made)

    def _content(self) -> list[dict[str, Any]]:
        text, pictures = self._prompts.turn(self._row)
        return server_messages.content(text, self._grid(pictures))


def prompt_ids(queries: QueryBatch) -> list[list[int]]:
    """The ids of each prompt, without padding."""
    return [row[mask].tolist() for row, mask in zip(queries.query_ids.cpu(), queries.attention_mask.cpu(), strict=True)]


def _padded(
    written: Sequence[Written], *, device: torch.device
) -> tuple[Int[Tensor, "response token"], Float[Tensor, "response token"]]:
    """Ids with -1 where nothing was written, and log-probabilities."""
    width = max([1, *(len(response.ids) for response in written)])
    ids, logprobs = torch.full((len(written), width), -1), torch.zeros(len(written), width)
    for i, response in enumerate(written):
        ids[i, : len(response.ids)] = torch.tensor(response.ids, dtype=torch.long)
        logprobs[i, : len(response.ids)] = torch.tensor(response.logprobs)
    return ids.to(device), logprobs.to(device)
