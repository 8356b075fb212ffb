"""Sampling servers as one pool: the least busy one answers, one that fails is replaced, and is taken back when it answers again.

A request has exactly one answer: it goes to another server only after the one before failed. What is asked, and whether an answer is
right, is server_messages.py's.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from vlm_rl.rollout.engine import EngineMismatch, NoServerLeft
from vlm_rl.rollout.server import Adapter, Calls, Failed, Server, ServerRefuses, TimeLimits, content

MISSES = 3  # questions in a row whether it is there, without an answer, until a server counts as hanging
LOOKS = 10  # at a server that is left out, where one that is used is asked once


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server replied, and which one."""

    reply: dict[str, Any]
    source: str


class ServerPool:
    """All methods run in one event loop."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        limits: TimeLimits,
        per_server: int,
        attempts: int,
        key: str | None,
        run: str,
        advice: str = "",
    ) -> None:
        self.servers = [Server(url=url.rstrip("/")) for url in urls]
        self.calls = Calls(limits=limits, key=key)
        self.check: Callable[[Server], Awaitable[None]] | None = None  # raises where a server that comes later does not fit
        self._limits, self._per_server, self._attempts = limits, per_server, attempts
        self._run, self._advice = run, advice
        self._empty_since = time.monotonic()
        self._first: deque[asyncio.Future[Server]] = deque()  # requests that wait for a place
        self._later: deque[asyncio.Future[Server]] = deque()  # those in the background
        self._watching: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Wait until a server is there, and watch all of them. Raise NoServerLeft."""
        await asyncio.gather(*map(self._look, self.servers))
        watching = [*map(self._watch, self.servers), self._lose_patience()]
        self._watching = [asyncio.create_task(work) for work in watching]
        self._give_back(await self._place())

    async def close(self) -> None:
        """Leave all servers."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self.calls.close()

    @property
    def up(self) -> list[Server]:
        """Those that are used."""
        return [server for server in self.servers if server.is_up]

    async def ask(
        self, body: Callable[[], Awaitable[Mapping[str, Any]]], *, adapter: Adapter | None, in_background: bool = False
    ) -> Answer:
        """The answer to a chat completion, of whichever server; `body` is made when its turn has come.

        Raise NoServerLeft, or ServerRefuses where one attempt after the other fails on this very request.
        """
        failures: list[str] = []
        while len(failures) < self._attempts:
            server = await self._place(in_background=in_background)
            start = server.starts
            try:
                return await self._answer(server, await body(), adapter=adapter)
            except Failed as failure:
                failures.append(f"{server.url}: {failure}")
                if server.starts == start:  # else it was away meanwhile, and is a new one
                    self._leave_out(server, str(failure))
            finally:
                self._give_back(server)
        raise ServerRefuses(
            f"{len(failures)} attempts at the same request failed, the last ones by {'; '.join(failures[-2:])}. The logs of the servers "
            "say more."
        )

    async def _answer(self, server: Server, body: Mapping[str, Any], *, adapter: Adapter | None) -> Answer:
        if adapter is not None:
            await self.calls.hold(server, adapter)
        source = server.source
        reply = await self._unless_lost(server, self.calls.post(server, "/v1/chat/completions", body))
        if reply.status_code == 404 and adapter is not None:
            raise Failed(f"it does not know the adapter {adapter.name} any more")  # when it is back, it gets it again
        return Answer(reply=content(reply, server.url), source=source)

    async def _unless_lost(self, server: Server, sending: Awaitable[httpx.Response]) -> httpx.Response:
        """The reply, unless the server is found to hang meanwhile, or takes longer than it may."""
        sent, lost = asyncio.ensure_future(sending), asyncio.ensure_future(server.lost.wait())
        try:
            done, _ = await asyncio.wait({sent, lost}, timeout=self._limits.request, return_when=asyncio.FIRST_COMPLETED)
            if sent not in done:
                raise Failed(server.why if lost in done else "it did not answer in time")
            return sent.result()
        finally:
            sent.cancel()
            lost.cancel()

    async def spread(self, adapter: Adapter) -> None:
        """Have all servers load an adapter now, so that the first responses need not wait for it."""

        async def tried(server: Server) -> None:
            try:
                await self.calls.hold(server, adapter)
            except Failed as failure:
                self._leave_out(server, str(failure))

        await asyncio.gather(*map(tried, self.up))

    async def keep_only(self, adapters: Collection[Adapter]) -> None:
        """Have all servers drop the other adapters of this run. One that fails at it is found by its next request; one that is away
        drops them when it is back and this is called again."""
        names = {adapter.name for adapter in adapters}
        others = [(server, name) for server in self.up for name in server.adapters - names]
        await asyncio.gather(*(self.calls.drop(server, name) for server, name in others), return_exceptions=True)

    async def _place(self, *, in_background: bool = False) -> Server:
        """A place at the least busy server. Requests in the background get one only where no other request waits."""
        turn: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        (self._later if in_background else self._first).append(turn)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            raise

    def _give_back(self, server: Server) -> None:
        server.in_flight -= 1
        self._serve()

    def _serve(self) -> None:
        """Give free places to those who wait."""
        while queue := self._first or self._later:
            free = [server for server in self.up if server.in_flight < self._per_server]
            if not free:
                return
            turn = queue.popleft()
            if not turn.done():
                server = min(free, key=lambda server: server.in_flight)
                server.in_flight += 1
                turn.set_result(server)

    async def _lose_patience(self) -> None:
        """Fail all who wait where there has been no server for too long."""
        while True:
            await asyncio.sleep(min(1.0, self._limits.without_server / 4))
            if self.up or time.monotonic() - self._empty_since < self._limits.without_server:
                continue
            for queue in (self._first, self._later):
                while queue:
                    turn = queue.popleft()
                    if not turn.done():
                        turn.set_exception(NoServerLeft(f"No sampling server answers.\n{self.state()}{self._advice}"))

    def state(self) -> str:
        """Why servers are not used, a line for each."""
        return "\n".join(f"  {server.url}: {server.why}" for server in self.servers if not server.is_up)

    def _leave_out(self, server: Server, why: str) -> None:
        if not server.is_up:
            return
        server.is_up, server.why = False, why
        if not self.up:
            self._empty_since = time.monotonic()
        print(f"Sampling server {server.url} is left out: {why}.", flush=True)

    async def _watch(self, server: Server) -> None:
        """Ask a server again and again whether it is there: seldom while it is used, often while it is not."""
        while True:
            for _ in range(LOOKS):
                await asyncio.sleep(self._limits.probe / LOOKS)
                if not server.is_up:
                    break
            await self._look(server)

    async def _look(self, server: Server) -> None:
        try:
            found = await self.calls.get(server, "/health")
            if not found.is_success:
                raise Failed(f"it answers {found.status_code} when asked for its health")
            server.misses = 0
            if not server.is_up:
                await self._take_in(server)
        except (Failed, EngineMismatch, ServerRefuses, ValueError) as failure:
            server.misses += 1
            if not server.is_up:
                server.why = str(failure)
            elif server.misses >= MISSES:
                self._leave_out(server, f"it hangs: {failure}")
                server.lost.set()

    async def _take_in(self, server: Server) -> None:
        server.lost = asyncio.Event()
        server.adapters = await self.calls.adapters(server, self._run)  # it may be another process
        if self.check is not None:
            await self.check(server)
        server.is_up, server.starts = True, server.starts + 1
        if server.starts > 1 or self.check is not None:
            print(f"Sampling server {server.url} is used{' again' if server.starts > 1 else ''}.", flush=True)
        self._serve()
