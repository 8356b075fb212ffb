"""The first words with sampling servers: whether each serves what is trained, found by a few tokens after one prompt of each kind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.commands.model_forwards import LoadedModel
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompt_sharing import own_states
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.connection import prompt_ids
from vlm_rl.rollout.server import Adapter, Failed, Server, ServerRefuses
from vlm_rl.rollout.server_probe import TEMPERATURE, ServerProbe, UnfitServer
from vlm_rl.rollout.vllm_engine import VllmEngine
from vlm_rl.types import QueryBatch, ResponseBatch

SIZES = (0.02, 0.06, 0.2, 0.6)  # standard deviations of what is added to the weights of the adapter that is tried
CHANGE = 5  # times parity.tolerance: the least that it changes, so that a server without it is found


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """The servers of an engine beside a loaded model."""

    engine: VllmEngine
    model: LoadedModel
    queries: QueryBatch
    probe: ServerProbe

    def make(self) -> None:
        """All checks of all servers that are there; those that come later are asked what needs no trainer."""
        connection = self.engine.connection
        for server in connection.pool.up:
            connection.wait_for(self.probe.check_model(server))
            self._check_base(server)
        if self.model.policy.adapter is not None:
            self._check_adapters()
        connection.pool.check = self.probe.check

    def _responses(self, server: Server, adapter: Adapter | None) -> ResponseBatch:
        connection = self.engine.connection
        return connection.batch(connection.wait_for(self.probe.responses(server, adapter=adapter)), num_samples=1)

    def _check_base(self, server: Server) -> None:
        """Raise UnfitServer where log-probabilities of the untrained model are not the trainer's."""
        policy = self.model.policy
        with policy.as_reference():
            found = self._responses(server, None)
            after, before = (difference(policy, self.queries, found, temperature=t) for t in (TEMPERATURE, 1.0))
        if after <= self.model.tolerance and after <= before:
            return
        if before <= self.model.tolerance:
            raise UnfitServer(
                f"{server.url} gives log-probabilities before the temperature: start it with --logprobs-mode processed_logprobs."
                f"{self.probe.advice}"
            )
        raise UnfitServer(
            f"{server.url} and the trainer differ by {after:.3g} nats a token on the untrained model, more than "
            f"parity.tolerance={self.model.tolerance}: other weights or another revision of it (--model, --revision), another precision "
            f"(--dtype), or other pictures (--mm-processor-kwargs).{self.probe.advice}"
        )

    def _check_adapters(self) -> None:
        """Raise UnfitServer where servers do not use an adapter as the trainer does. It is not the run's: that begins as no change."""
        policy, connection = self.model.policy, self.engine.connection
        with policy.holding(self._trial(), version=policy.version):
            adapter = ranks.from_first(connection.versions.written(policy) if ranks.is_first() else None)
            assert adapter is not None
            for server in connection.pool.up:
                self._check_adapter(server, adapter)
        ranks.gathered(None)  # another rank may still read it
        if ranks.is_first():
            connection.wait_for(connection.pool.keep_only([]))
            connection.versions.remove(adapter)

    def _trial(self) -> list[Tensor]:
        """Weights of an adapter that changes log-probabilities by far more than the tolerance."""
        policy, plain = self.model.policy, self._responses(self.engine.connection.pool.up[0], None)
        generator = torch.Generator().manual_seed(0)
        noise = [torch.randn(weight.shape, generator=generator).to(weight) for weight in policy.trained_weights()]
        trial: list[Tensor] = []
        for size in SIZES:
            trial = [weight + size * part for weight, part in zip(policy.trained_weights(), noise, strict=True)]
            with policy.holding(trial, version=policy.version):
                change = difference(policy, self.queries, plain, temperature=TEMPERATURE)
            if ranks.from_first(change) >= CHANGE * self.model.tolerance:
                break
        return trial

    def _check_adapter(self, server: Server, adapter: Adapter) -> None:
        policy, connection = self.model.policy, self.engine.connection
        try:
            connection.wait_for(connection.pool.calls.hold(server, adapter))
        except (ServerRefuses, Failed) as refusal:  # a rank that is too high is an error 500
            raise UnfitServer(
                f"{server.url} does not load a trial adapter: {refusal}. A server takes adapters with --enable-lora, --max-lora-rank of "
                "their rank or more, and the variable VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and reads them from the folder "
                f"rollout.engine.exchange.{self.probe.advice}"
            ) from None
        found = self._responses(server, adapter)
        own = difference(policy, self.queries, found, temperature=TEMPERATURE)
        if own <= self.model.tolerance:
            return
        with policy.as_reference():
            base = difference(policy, self.queries, found, temperature=TEMPERATURE)
        why = "it samples from the base model, without the adapter" if base < own else "it computes the adapter otherwise"
        raise UnfitServer(
            f"{server.url} and the trainer differ by {own:.3g} nats a token with a trial adapter on, more than "
            f"parity.tolerance={self.model.tolerance}: {why}. Adapt other layers (model.lora.targets), or sample with "
            f"rollout=huggingface.{self.probe.advice}"
        )


def check_servers(engine: VllmEngine, model: LoadedModel, *, max_tokens: int, advice: str) -> None:
    """Raise UnfitServer or EngineMismatch, with the flag that mends it, where a server does not sample from what is trained."""
    queries = model.encoder.batch(model.rows, indices=range(len(model.rows)), step=0).to(model.policy.device)
    probe = ServerProbe(
        connection=engine.connection, rows=model.rows, prompt_ids=prompt_ids(queries), max_tokens=max_tokens, advice=advice
    )
    with model.policy.layout.gathered():
        _Checks(engine=engine, model=model, queries=queries, probe=probe).make()
    if ranks.is_first():
        urls = ", ".join(server.url for server in engine.connection.pool.up)
        away = engine.connection.pool.state()
        print(f"Sampling servers agree with the trainer on {len(model.rows)} prompts: {urls}.", flush=True)
        print(f"Not there yet, and used as soon as they are:\n{away}\n" if away else "", end="", flush=True)


@torch.no_grad()
def difference(policy: Policy, queries: QueryBatch, responses: ResponseBatch, *, temperature: float) -> float:
    """Between the log-probabilities of a server and the trainer's at a temperature: nats, mean over tokens."""
    samples = concatenate(queries, responses, scores=torch.zeros(len(queries.rows)))
    mask = samples.response_mask
    ours = policy.next_token_logprobs(own_states(policy, samples), temperature=temperature)
    found: Tensor = ours.gather(-1, samples.response_ids[mask][:, None])[:, 0]
    return float((found - samples.engine_logprobs[mask]).abs().mean())
