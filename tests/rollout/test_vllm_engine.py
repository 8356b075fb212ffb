"""The engine against stand-in servers: it samples what the embedded engine samples, and every fault ends in a repair or a message."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from serving_app import free_port, in_thread
from stand_in import StandIn
from stand_in_writers import DiceWriter, PolicyWriter
from tiny_runs import Build, trembling

from vlm_rl.commands.build import Experiment
from vlm_rl.commands.model_forwards import loaded_model
from vlm_rl.commands.serve_flags import advice
from vlm_rl.commands.server_checks import check_servers
from vlm_rl.rollout.engine import EngineMismatch, NoServerLeft, SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.rollout.server import ServerRefuses, TimeLimits
from vlm_rl.rollout.server_probe import UnfitServer
from vlm_rl.rollout.vllm_engine import VllmEngine
from vlm_rl.types import QueryBatch, ResponseBatch

LIMITS = TimeLimits(connect=2, request=20, load=20, probe=0.3, without_server=1.5)
SETTINGS = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8, num_samples=2)


@pytest.fixture(scope="module")
def served(built: Build) -> Experiment:
    """An experiment of its own: its adapter is changed."""
    return built("algorithm.group_size=2", tremble=False)


@pytest.fixture(scope="module")
def writer() -> PolicyWriter:
    return PolicyWriter()


@pytest.fixture(scope="module")
def dice() -> DiceWriter:
    return DiceWriter()


Connect = Callable[..., VllmEngine]


@pytest.fixture
def connect(served: Experiment, tmp_path: Path) -> Iterator[Connect]:
    """Makes engines that are connected, and closes them."""
    with ExitStack() as around:

        def made(*urls: str, per_server: int = 8, attempts: int = 10, limits: TimeLimits = LIMITS) -> VllmEngine:
            engine = VllmEngine(
                servers=urls,
                model="tiny",
                exchange=str(tmp_path / "exchange"),
                requests_per_server=per_server,
                attempts=attempts,
                api_key_variable="KEY_OF_THE_TEST",
                limits=limits,
            )
            around.callback(engine.close)
            engine.connect(served.policy, served.encoder.prompts, run="a.run", advice="\nStart one by X.")
            return engine

        yield made


def queries_of(experiment: Experiment) -> QueryBatch:
    return experiment.module.data_flow.queries(0)


def seeds_of(queries: QueryBatch, *, num_samples: int = 2) -> np.ndarray:
    return np.arange(len(queries.rows) * num_samples).reshape(-1, num_samples) + 2**62


def same(left: ResponseBatch, right: ResponseBatch) -> bool:
    return torch.equal(left.response_ids, right.response_ids) and torch.equal(left.response_mask, right.response_mask)


def test_a_server_gives_what_the_embedded_engine_gives(served: Experiment, writer: PolicyWriter, connect: Connect) -> None:
    queries = queries_of(served)
    embedded = HuggingFaceEngine(forward_batch_size=1)
    embedded.load(served.policy)
    ours = embedded.generate(queries, SETTINGS, seeds_of(queries))
    with in_thread(StandIn(writer=writer)) as url:
        engine = connect(url)
        engine.load(served.policy)
        theirs = engine.generate(queries, SETTINGS, seeds_of(queries))
    assert same(ours, theirs)
    assert float((ours.engine_logprobs - theirs.engine_logprobs).abs().max()) < 1e-5
    assert [response.finish_reason for response in ours.responses] == [response.finish_reason for response in theirs.responses]
    assert set(theirs.sources or ()) == {f"{url} (start 1)"}


def test_each_version_of_the_adapter_has_a_name_and_the_one_before_is_gone(
    served: Experiment, writer: PolicyWriter, connect: Connect, tmp_path: Path
) -> None:
    queries, app, policy = queries_of(served), StandIn(writer=writer), served.policy
    with in_thread(app) as url:
        engine, names, found = connect(url), [], []
        for version in range(3):
            policy.version = version
            if version:
                trembling(policy)
            engine.load(policy)
            engine.load(policy)  # nothing has changed
            found.append(engine.generate(queries, SETTINGS, seeds_of(queries)))
            names.append(list(app.adapters))
            assert {model for model, _ in app.asked} == {"tiny" if not version else app.adapters[0]}
            app.asked.clear()
        folders = [folder.name for folder in (tmp_path / "exchange" / "a.run").iterdir()]
        engine.close()
        assert app.adapters == []
    assert [len(of_version) for of_version in names] == [0, 1, 1]
    assert re.fullmatch(r"a\.run\.v000002-[0-9a-f]{10}", names[2][0]) and names[1] != names[2]
    assert folders == [names[2][0].removeprefix("a.run.")]
    assert not (tmp_path / "exchange" / "a.run").exists()
    assert float((found[0].engine_logprobs[:, 0] - found[2].engine_logprobs[:, 0]).abs().max()) > 1e-4
    policy.take([torch.zeros_like(w) if i % 2 else w for i, w in enumerate(policy.trained_weights())], version=0)


def faulty(dice: DiceWriter, **faults: float) -> StandIn:
    return StandIn(writer=dice, faults=faults)


MESSAGES = {  # a fault of one server of one -> what the run stops with
    "wrong_ids": (EngineMismatch, "read another prompt of row train-"),
    "other_model": (EngineMismatch, "was asked for tiny, and"),
    "hang": (NoServerLeft, "did not answer in time"),
    "status_500": (ServerRefuses, "EngineCore died"),
    "drop": (ServerRefuses, "the connection failed"),
}


@pytest.mark.parametrize("fault", MESSAGES)
def test_a_fault_that_stays_ends_in_its_message(fault: str, served: Experiment, dice: DiceWriter, connect: Connect) -> None:
    queries, app, kind = queries_of(served), StandIn(writer=dice), MESSAGES[fault][0]
    if fault == "other_model":
        app.name = "tiny"
    with in_thread(app) as url:
        engine = connect(url, attempts=3, limits=replace(LIMITS, request=1))
        app.faults = {fault: 1.0}
        if fault == "other_model":
            trembling(served.policy)
            engine.load(served.policy)
        begun = time.monotonic()
        with pytest.raises(kind, match=MESSAGES[fault][1] if fault != "other_model" else "was asked for a.run.v"):
            engine.generate(queries, SETTINGS, seeds_of(queries))
        app.faults = {}
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("fault", ["status_500", "drop", "forget"])
def test_a_fault_now_and_then_loses_and_doubles_nothing(
    fault: str, served: Experiment, dice: DiceWriter, connect: Connect
) -> None:
    queries, app = queries_of(served), StandIn(writer=dice)
    other = StandIn(writer=dice)
    with in_thread(app) as url, in_thread(other) as second:
        engine = connect(url, second)
        trembling(served.policy)
        engine.load(served.policy)
        whole = engine.generate(queries, SETTINGS, seeds_of(queries))
        app.faults = other.faults = {fault: 0.2}
        for _ in range(5):
            assert same(whole, engine.generate(queries, SETTINGS, seeds_of(queries)))
        app.faults = other.faults = {}


def test_a_server_that_goes_is_replaced_and_one_that_comes_is_used(
    served: Experiment, dice: DiceWriter, connect: Connect
) -> None:
    queries, port = queries_of(served), free_port()
    first, second = StandIn(writer=dice, seconds_per_token=0.05), StandIn(writer=dice, seconds_per_token=0.01)
    later = f"http://127.0.0.1:{port}"
    with ExitStack() as around, in_thread(second) as stays:
        goes = around.enter_context(in_thread(first))
        engine = connect(goes, stays, later, per_server=2)
        whole = engine.generate(queries, SETTINGS, seeds_of(queries))
        assert {source.split(" ")[0] for source in whole.sources or ()} == {goes, stays}
        sampling = engine.begin(queries, [SETTINGS], [seeds_of(queries)])
        time.sleep(0.2)
        around.close()  # in the middle of its responses
        (found,) = sampling()
        assert same(whole, found)
        with in_thread(StandIn(writer=dice), port=port):
            time.sleep(3 * LIMITS.probe)
            found = engine.generate(queries, SETTINGS, seeds_of(queries))
            assert same(whole, found)
            assert later in {source.split(" ")[0] for source in found.sources or ()}


def test_with_no_server_left_the_message_says_how_to_start_one(served: Experiment, dice: DiceWriter, connect: Connect) -> None:
    queries = queries_of(served)
    with in_thread(StandIn(writer=dice)) as url:
        engine = connect(url)
    begun = time.monotonic()
    with pytest.raises(NoServerLeft, match=rf"No sampling server answers\.\n  {url}: .*\nStart one by X\."):
        engine.generate(queries, SETTINGS, seeds_of(queries))
    assert time.monotonic() - begun < 10


UNFIT: dict[str, tuple[dict[str, object], str]] = {  # what a server was started with -> the flag that mends it
    "name": ({"name": "other"}, "--served-model-name tiny"),
    "length": ({"max_model_len": 40}, "--max-model-len 352"),
    "rank": ({"max_lora_rank": 8}, "LoRA rank 16 is greater than max_lora_rank 8.*--max-lora-rank"),
    "raw": ({"faults": {"raw": 1.0}}, "--logprobs-mode processed_logprobs"),
    "stale": ({"faults": {"stale": 1.0}}, "it samples from the base model, without the adapter"),
    "prompt": ({"faults": {"wrong_ids": 1.0}}, "--chat-template"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_at_the_start_a_server_is_told_what_differs_and_the_flag_that_mends_it(
    what: str, served: Experiment, writer: PolicyWriter, connect: Connect
) -> None:
    settings, message = UNFIT[what]
    model = loaded_model(served.policy, served.encoder, served.dataset, tolerance=0.1)
    with in_thread(StandIn(writer=writer, **settings)) as url:  # type: ignore[arg-type]
        engine = connect(url)
        with pytest.raises((UnfitServer, EngineMismatch), match=re.compile(message, re.DOTALL)):
            check_servers(engine, model, max_tokens=352, advice=advice(served.cfg, served.dataset))


def test_a_fit_server_passes_and_its_trial_adapter_is_gone(
    served: Experiment, writer: PolicyWriter, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    app = StandIn(writer=writer)
    model = loaded_model(served.policy, served.encoder, served.dataset, tolerance=1e-4)
    with in_thread(app) as url:
        check_servers(connect(url), model, max_tokens=352, advice="")
        assert f"agree with the trainer on 2 prompts: {url}." in capsys.readouterr().out
        assert app.adapters == []


def test_the_key_comes_from_the_environment(
    served: Experiment, dice: DiceWriter, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = queries_of(served)
    with in_thread(StandIn(writer=dice, key="secret-123")) as url:
        with pytest.raises(NoServerLeft, match="another API key") as caught:
            connect(url).generate(queries, SETTINGS, seeds_of(queries))
        assert "secret" not in str(caught.value)
        monkeypatch.setenv("KEY_OF_THE_TEST", "secret-123")
        assert len(connect(url).generate(queries, SETTINGS, seeds_of(queries)).responses) == 2 * len(queries.rows)


def test_requests_in_the_background_give_way(served: Experiment, dice: DiceWriter, connect: Connect) -> None:
    queries, app = queries_of(served), StandIn(writer=dice, seconds_per_token=0.02)
    with in_thread(app) as url:
        engine = connect(url, per_server=1)
        later = engine.begin(queries, [SETTINGS], [seeds_of(queries)], in_background=True)
        time.sleep(0.1)
        first = engine.generate(queries, SETTINGS, seeds_of(queries) + 1000)
        seeds = [seed for _, seed in app.asked]
        (found,) = later()
    assert len(found.responses) == len(first.responses)
    behind = {int(seed) for seed in seeds_of(queries).flat}
    assert sum(seed in behind for seed in seeds) <= 3  # those that were on their way
