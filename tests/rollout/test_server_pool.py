"""Several servers: work is spread so that twice as many do twice as much, and 200 steps with faults lose nothing and keep nothing."""

import gc
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from serving_app import in_thread
from stand_in import StandIn
from stand_in_writers import DiceWriter
from tiny_runs import Build, trembling

from vlm_rl.commands.build import Experiment
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.server import TimeLimits
from vlm_rl.rollout.vllm_engine import VllmEngine
from vlm_rl.types import QueryBatch, ResponseBatch

LIMITS = TimeLimits(connect=2, request=1, load=10, probe=0.2, without_server=20)


@pytest.fixture(scope="module")
def served(built: Build) -> Experiment:
    return built("algorithm.group_size=4", tremble=False)


@pytest.fixture(scope="module")
def dice() -> DiceWriter:
    return DiceWriter()


@pytest.fixture
def around() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connected(served: Experiment, around: ExitStack, *urls: str, exchange: Path, per_server: int) -> VllmEngine:
    engine = VllmEngine(
        servers=urls,
        model="tiny",
        exchange=str(exchange),
        requests_per_server=per_server,
        attempts=30,
        api_key_variable="NO_KEY",
        limits=LIMITS,
    )
    around.callback(engine.close)
    engine.connect(served.policy, served.encoder.prompts, run="a.run")
    return engine


@pytest.mark.slow
def test_two_and_four_servers_do_twice_and_four_times_as_much(
    served: Experiment, dice: DiceWriter, around: ExitStack, tmp_path: Path
) -> None:
    """Each token of each response takes a fixed time; a server has two places. A request itself costs some milliseconds here."""
    queries = served.module.data_flow.queries(0)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=2, num_samples=4)  # one token, and the end
    seeds = np.arange(len(queries.rows) * 4).reshape(-1, 4)
    seconds = {}
    for count in (1, 2, 4):
        with ExitStack() as servers:
            urls = [servers.enter_context(in_thread(StandIn(writer=dice, seconds_per_token=0.3))) for _ in range(count)]
            engine = connected(served, around, *urls, exchange=tmp_path, per_server=2)
            begun = time.perf_counter()
            found = engine.generate(queries, settings, seeds)
            seconds[count] = time.perf_counter() - begun
            assert len(found.responses) == seeds.size
            engine.close()
    print(f"seconds: {seconds}; of linear: {seconds[1] / seconds[2] / 2:.2f}, {seconds[1] / seconds[4] / 4:.2f}")
    assert seconds[1] / seconds[2] >= 0.9 * 2
    assert seconds[1] / seconds[4] >= 0.9 * 4


@pytest.mark.slow
def test_200_steps_with_faults_lose_and_double_nothing_and_memory_stays(
    served: Experiment, dice: DiceWriter, around: ExitStack, tmp_path: Path
) -> None:
    """Before each step other faults are drawn for each of three servers; every tenth step has another adapter."""
    queries = served.module.data_flow.queries(0)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8, num_samples=2)
    apps = [StandIn(writer=dice) for _ in range(3)]
    engine = connected(served, around, *(around.enter_context(in_thread(app)) for app in apps), exchange=tmp_path, per_server=4)
    draws, process, used = random.Random(0), psutil.Process(), []
    for step in range(200):
        for app in apps:
            faults = draws.choice([{}, {"status_500": 0.1}, {"drop": 0.1}, {"forget": 0.1}, {"slow": 0.2, "seconds": 0.05}])
            app.faults = {**faults, "hang": 0.002}
            app.asked.clear()
        if step % 10 == 0:
            trembling(served.policy)
        served.policy.version = step
        engine.load(served.policy)
        seeds = np.arange(len(queries.rows) * 2).reshape(-1, 2) + 10_000 * step
        found = engine.generate(queries, settings, seeds)
        _check_answers(queries, seeds, found, dice=dice, settings=settings)
        if step >= 50 and step % 10 == 0:
            gc.collect()
            used.append(process.memory_info().rss)
    assert sum(len(app.adapters) for app in apps) <= 2 * len(apps)
    assert max(used) - used[0] < 40 * 2**20, [round(size / 2**20) for size in used]
    assert len(list((tmp_path / "a.run").iterdir())) == 1


def _check_answers(
    queries: QueryBatch, seeds: np.ndarray, found: ResponseBatch, *, dice: DiceWriter, settings: SamplingSettings
) -> None:
    """Each response is the one that its row and seed have, in its place."""
    for place, seed in enumerate(seeds.flat):
        question = queries.rows[place // seeds.shape[1]].question
        prompt = f"{question}\nReason step by step. Put the final answer in \\boxed{{}}."
        ids = dice.ids(int(seed), prompt, settings)
        assert torch.equal(found.response_ids[place][found.response_mask[place]], torch.tensor(ids))
