"""vLLM servers as an engine, over HTTP: an own adapter for each version, one request for each sample, every prompt compared.

`vllm` is not imported and need not be installed here. Requests run in an event loop of their own thread, so that sampling can go on
while the trainer computes. docs/rollout.md says how servers are started and what is checked.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.rollout.adapter_versions import AdapterVersions
from vlm_rl.rollout.connection import Connection
from vlm_rl.rollout.engine import Sampling, SamplingSettings
from vlm_rl.rollout.server import TimeLimits
from vlm_rl.rollout.server_pool import ServerPool
from vlm_rl.types import QueryBatch, ResponseBatch


class VllmEngine:
    """Samples by vLLM servers. `connect` comes before everything else, `close` at the end."""

    synced_parts = frozenset({"language"})  # vLLM leaves adapters of other parts out
    takes_adapters_only = True

    def __init__(
        self,
        *,
        servers: Sequence[str],
        model: str | None,
        exchange: str,
        requests_per_server: int,
        attempts: int,
        api_key_variable: str,
        limits: TimeLimits,
    ) -> None:
        if isinstance(servers, str) or not servers:
            raise ValueError(
                "rollout.engine.servers is a list of addresses, as rollout.engine.servers=[http://127.0.0.1:8000]."
            )
        for url in servers:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"rollout.engine.servers: {url!r} is no address of a server. Give it as http://HOST:PORT.")
        if len(set(servers)) < len(servers):
            raise ValueError("rollout.engine.servers names a server twice.")
        for name, number in (("requests_per_server", requests_per_server), ("attempts", attempts)):
            if number < 1:
                raise ValueError(f"rollout.engine.{name}={number}; it is 1 or more.")
        self._servers, self._name, self._exchange, self._limits = list(servers), model, exchange, limits
        self._per_server, self._attempts, self._key = requests_per_server, attempts, api_key_variable
        self._connection: Connection | None = None

    def connect(self, policy: Policy, prompts: Prompts, *, run: str, advice: str = "") -> None:
        """Take up the servers that answer. `run`: the name of the run's folder of adapters, and of its adapters at the servers.

        Raise NoServerLeft if none answers.
        """
        if self._connection is None:
            pool = partial(
                ServerPool,
                self._servers,
                limits=self._limits,
                per_server=self._per_server,
                attempts=self._attempts,
                run=run,
                advice=advice,
                key=os.environ.get(self._key) or None,
            )
            versions = AdapterVersions(exchange=Path(self._exchange).expanduser(), run=run)
            self._connection = Connection(pool, policy=policy, prompts=prompts, versions=versions, model=self._name)

    @property
    def connection(self) -> Connection:
        """To the servers. There is one after `connect`."""
        assert self._connection is not None, "connect() comes before load() and generate()"
        return self._connection

    def load(self, policy: Policy) -> None:
        """Have the servers load the adapter of now under a new name. Every rank must call this; the first one writes."""
        self.connection.load(policy)

    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """Responses by the adapter that was loaded last."""
        return self.generate_each(queries, [settings], [seeds])[0]

    def generate_each(
        self, queries: QueryBatch, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray]
    ) -> list[ResponseBatch]:
        """The same under several settings."""
        return self.begin(queries, settings, seeds)()

    def begin(
        self,
        queries: QueryBatch,
        settings: Sequence[SamplingSettings],
        seeds: Sequence[np.ndarray],
        *,
        in_background: bool = False,
    ) -> Sampling:
        """Begin to sample by the adapter that was loaded last, whatever is loaded later."""
        return self.connection.begin(queries, settings, seeds, in_background=in_background)

    def close(self) -> None:
        """Stop what is being sampled and have the servers drop this run's adapters."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
