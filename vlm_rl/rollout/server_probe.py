"""What a server is asked before it is used: what it serves, and a few tokens after one prompt of each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rl.datasets.row import Row
from vlm_rl.rollout.connection import Connection, Sourced
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.server import Adapter, Server, content

TEMPERATURE = 2.0  # far from 1, so that log-probabilities before and after it differ
SETTINGS = SamplingSettings(temperature=TEMPERATURE, top_p=1.0, max_new_tokens=12, num_samples=1)


class UnfitServer(ValueError):
    """A server that was started otherwise than the run needs it."""


@dataclass(frozen=True, kw_only=True)
class ServerProbe:
    """The questions. `advice` says how a server is started."""

    connection: Connection
    rows: Sequence[Row]
    prompt_ids: Sequence[list[int]]  # of the rows, as the trainer reads them
    max_tokens: int  # of a prompt with its response
    advice: str

    async def check(self, server: Server) -> None:
        """Raise UnfitServer or EngineMismatch where it serves another model, or reads prompts otherwise. Needs no trainer."""
        await self.check_model(server)
        await self.responses(server, adapter=None)

    async def check_model(self, server: Server) -> None:
        """Raise UnfitServer where it does not serve the base model, or takes too few tokens."""
        reply = content(await self.connection.pool.calls.get(server, "/v1/models"), server.url)
        models = {model.get("id"): model for model in reply.get("data", []) if isinstance(model, dict)}
        if self.connection.base not in models:
            others = ", ".join(str(name) for name, model in models.items() if model.get("parent") is None)
            raise UnfitServer(
                f"{server.url} serves {others or 'nothing'}, and not {self.connection.base}. Start it with --served-model-name "
                f"{self.connection.base}, or give the name that it has there, as rollout.engine.model={others or 'NAME'}.{self.advice}"
            )
        length = models[self.connection.base].get("max_model_len")
        if isinstance(length, int) and length < self.max_tokens:
            raise UnfitServer(
                f"{server.url} takes {length} tokens, and a prompt with its response may have {self.max_tokens} "
                f"(dataset.max_prompt_tokens + dataset.max_new_tokens). Start it with --max-model-len {self.max_tokens}.{self.advice}"
            )

    async def responses(self, server: Server, *, adapter: Adapter | None) -> list[Sourced]:
        """A few tokens after each prompt. Raise EngineMismatch where it reads another prompt than the trainer."""
        words = self.connection.words(SETTINGS, adapter=adapter)
        return [await self._response(server, row, ids, words) for row, ids in zip(self.rows, self.prompt_ids, strict=True)]

    async def _response(self, server: Server, row: Row, ids: list[int], words: dict[str, Any]) -> Sourced:
        turn = await self.connection.turn(row).content()
        body = words | {"seed": 0, "messages": [{"role": "user", "content": turn}]}
        reply = content(await self.connection.pool.calls.post(server, "/v1/chat/completions", body), server.url)
        return self.connection.checked(reply, asked=words["model"], row=row, ids=ids, source=server.url), server.url
