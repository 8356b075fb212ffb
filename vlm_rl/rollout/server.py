"""One sampling server: what is known of it, and single calls to it. server_pool.py decides which server gets what."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

KEPT_S = 2.0  # an idle connection; servers close theirs after 5
SHOWN = 300  # characters of what a server answered


class ServerRefuses(RuntimeError):
    """A server answers, and does not do what it is asked for."""


class Failed(Exception):
    """A call failed in a way that another server, or the same one later, may not."""


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """Seconds."""

    connect: float  # until a server takes a connection
    request: float  # for one response, from its sending to its end
    load: float  # of one adapter
    probe: float  # between two questions to a server whether it is there, and for their answer
    without_server: float  # with no server at all, until the run stops

    def __post_init__(self) -> None:
        for name, seconds in vars(self).items():
            if not seconds > 0:
                raise ValueError(f"rollout.engine.limits.{name}={seconds}; it is a number of seconds above 0.")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Trained weights as a folder in PEFT's format, under the name that servers know them by."""

    name: str
    path: str


@dataclass(kw_only=True)
class Server:
    """One server, and what is known of it."""

    url: str
    is_up: bool = False  # it is used
    why: str = "it was not asked yet"  # it is not
    starts: int = 0  # how often it was taken into the pool: after each it may be another process
    in_flight: int = 0  # requests that it is answering
    misses: int = 0  # questions in a row whether it is there, without an answer
    adapters: set[str] = field(default_factory=set)  # that it is known to hold
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # set when it hangs: whoever waits for it goes elsewhere
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def source(self) -> str:
        """Its name as the author of a response: another one after each time that it was away."""
        return f"{self.url} (start {self.starts})"


class Calls:
    """HTTP calls; the key goes into a header and nowhere else."""

    def __init__(self, *, limits: TimeLimits, key: str | None) -> None:
        self._limits = limits
        self._client = httpx.AsyncClient(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEPT_S),
            trust_env=False,  # a proxy of this machine does not know the servers
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, server: Server, path: str) -> httpx.Response:
        """GET, within the time of a probe. Raise Failed where nothing comes back."""
        return await self._send("GET", server.url + path, seconds=self._limits.probe)

    async def post(self, server: Server, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """POST of JSON, within the time of a request. Raise Failed where nothing comes back."""
        return await self._send("POST", server.url + path, seconds=self._limits.request, json=body)

    async def _send(self, method: str, url: str, *, seconds: float, **words: Any) -> httpx.Response:
        limit = httpx.Timeout(seconds, connect=self._limits.connect)
        try:
            return await self._client.request(method, url, timeout=limit, **words)
        except httpx.TimeoutException:
            raise Failed("it did not answer in time") from None
        except httpx.HTTPError as error:
            raise Failed(f"the connection failed ({type(error).__name__})") from None

    async def hold(self, server: Server, adapter: Adapter) -> None:
        """Have a server load an adapter, unless it has. The name says what is in it, so one that is there under that name will do."""
        async with server.loading:
            if adapter.name in server.adapters:
                return
            words = {"lora_name": adapter.name, "lora_path": adapter.path}
            reply = await self._send("POST", f"{server.url}/v1/load_lora_adapter", seconds=self._limits.load, json=words)
            if reply.status_code == 400 and "already been loaded" in reply.text:
                pass
            elif reply.is_client_error:
                raise ServerRefuses(f"{server.url} does not load the adapter {adapter.path}: {said(reply)}")
            else:
                content(reply, server.url)
            server.adapters.add(adapter.name)

    async def adapters(self, server: Server, run: str) -> set[str]:
        """The adapters of a run that a server holds, whoever had it load them."""
        found = content(await self.get(server, "/v1/models"), server.url).get("data", [])
        names = {str(model.get("id")) for model in found if isinstance(model, dict)}
        return {name for name in names if name.startswith(f"{run}.")}

    async def drop(self, server: Server, name: str) -> None:
        """Have a server forget an adapter. Raise Failed where nothing comes back."""
        server.adapters.discard(name)
        words = {"lora_name": name}
        await self._send("POST", f"{server.url}/v1/unload_lora_adapter", seconds=self._limits.load, json=words)


def content(reply: httpx.Response, url: str) -> dict[str, Any]:
    """The JSON object of a reply, empty where it is text. Raise Failed or ServerRefuses where it is an error."""
    if reply.status_code in (401, 403):
        raise ServerRefuses(
            f"{url} wants another API key (it answers {reply.status_code}). Set the variable that rollout.engine.api_key_variable names."
        )
    if reply.status_code == 429 or reply.is_server_error:
        raise Failed(f"it answers {reply.status_code} ({said(reply)})")
    if not reply.is_success:
        raise ServerRefuses(f"{url} refuses a request: {said(reply)}")
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return {}
    try:
        found = reply.json()
    except ValueError:
        raise Failed("its answer is no JSON") from None
    if not isinstance(found, dict):
        raise Failed("its answer is no JSON object")
    return found


def said(reply: httpx.Response) -> str:
    """What a server says of an error, shortened."""
    try:
        text = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = reply.text
    text = " ".join(text.split())
    return text[:SHOWN] + ("..." if len(text) > SHOWN else "")
