"""Whole runs that sample by stand-in servers, as commands: whatever happens to a server or to the run, the same bytes are left."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Forking
from serving_app import ServerProcess
from tiny_commands import TINY, content, only_run, train, trained_steps

pytestmark = pytest.mark.slow
NUM_STEPS = 4  # of two epochs
VLLM = (
    *TINY,
    "dataset.source.train_rows=8",
    "rollout=vllm",
    "rollout.engine.limits.without_server=2",
    "rollout.engine.limits.probe=0.3",
)


@pytest.fixture(scope="module")
def server(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One that all tests share."""
    process = ServerProcess(forking, cwd=tmp_path_factory.mktemp("server")).wait()
    yield process
    process.kill()


def words(*servers: ServerProcess, overlap: int = 0) -> list[str]:
    urls = ",".join(server.url for server in servers)
    return [*VLLM, f"rollout.engine.servers=[{urls}]", f"rollout.overlap={overlap}"]


@pytest.fixture(scope="module", params=[0, 1], ids=["in turn", "overlapping"])
def overlap(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def uninterrupted(
    forking: Forking, server: ServerProcess, overlap: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a run that nobody disturbs leaves behind."""
    cwd = tmp_path_factory.mktemp("whole")
    train(forking, cwd, *words(server, overlap=overlap), "study=s")
    run = only_run(cwd, study="s")
    assert trained_steps(run) == list(range(1, NUM_STEPS + 1))
    assert not list((cwd / "outputs" / "exchange").glob("*/*"))
    lines = [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    assert [line["rollout/staleness"] for line in lines] == [0.0] + [float(overlap)] * (NUM_STEPS - 1)
    assert (
        max(line["rollout/logprob_difference_max"] for line in lines) < 1e-4
    )  # old ones are those of the weights that sampled
    return content(run, checkpoints=slice(-1, None))


def test_two_servers_leave_the_same_bytes_as_one_and_so_does_one_that_is_killed(
    forking: Forking, server: ServerProcess, overlap: int, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    other = ServerProcess(forking, cwd=tmp_path).wait()
    command = forking.start("train.py", [*words(server, other, overlap=overlap), "study=s"], cwd=tmp_path)
    steps = "outputs/s/*/seed-0/completions/step-*"
    assert command.wait_until(lambda: len(list(tmp_path.glob(steps))) >= 1)
    other.kill()
    finished = command.wait()
    assert finished.code == 0, finished.out + finished.err
    assert f"Sampling server {other.url} is left out: the connection failed" in finished.out
    assert content(only_run(tmp_path, study="s"), checkpoints=slice(-1, None)) == uninterrupted


def test_with_no_server_left_the_run_stops_with_a_checkpoint_and_the_same_command_goes_on(
    forking: Forking, server: ServerProcess, overlap: int, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    own = ServerProcess(forking, cwd=tmp_path).wait()
    given = [*words(own, overlap=overlap), "study=s", "checkpoint.every=100"]
    command = forking.start("train.py", given, cwd=tmp_path)
    steps = "outputs/s/*/seed-0/completions/step-*"
    assert command.wait_until(lambda: len(list(tmp_path.glob(steps))) >= 1)
    own.kill()
    begun = time.monotonic()
    finished = command.wait()
    assert time.monotonic() - begun < 30
    assert finished.code == 2
    assert "No sampling server answers." in finished.err
    assert "vllm serve" in finished.err
    assert "holds all generation steps so far." in finished.out
    again = train(forking, tmp_path, *words(server, overlap=overlap), "study=s", "checkpoint.every=100")
    assert "Resuming from" in again.out
    left = content(only_run(tmp_path, study="s"), checkpoints=slice(-1, None))
    assert left == uninterrupted


def test_a_run_that_ends_early_has_the_evaluation_of_its_last_epoch(
    forking: Forking, server: ServerProcess, overlap: int, tmp_path: Path
) -> None:
    """Overlapping, servers evaluate in the background, and the next step is already being sampled. No answer is right: nothing rises."""
    early = ["dataset.epochs=4", "bottleneck=training_accuracy", "bottleneck.epochs=1"]
    out = train(forking, tmp_path, *words(server, overlap=overlap), *early, "study=s").out
    run = only_run(tmp_path, study="s")
    assert "Ended by its bottleneck after epoch 2 of 4" in out and trained_steps(run) == [1, 2, 3, 4]
    assert [line["epoch"] for line in run.lines("metrics.jsonl") if line["event"] == "evaluation"] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("moment", range(2))
def test_a_killed_run_goes_on_to_the_same_bytes(
    moment: int, forking: Forking, server: ServerProcess, overlap: int, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    given = [*words(server, overlap=overlap), "study=s"]
    command = forking.start("train.py", given, cwd=tmp_path)
    steps = "outputs/s/*/seed-0/completions/step-*"
    assert command.wait_until(lambda: len(list(tmp_path.glob(steps))) >= 2 * moment + 1)
    time.sleep(0.1 * moment)
    command.send(9)
    command.wait_until(lambda: False)
    train(forking, tmp_path, *given)
    assert content(only_run(tmp_path, study="s"), checkpoints=slice(-1, None)) == uninterrupted


def test_two_ranks_ask_for_the_same_and_stop_together_without_servers(
    forking: Forking, server: ServerProcess, overlap: int, tmp_path: Path
) -> None:
    on_ranks = ["trainer.devices=2", "trainer.accelerator=cpu", "study=s"]
    own = ServerProcess(forking, cwd=tmp_path).wait()
    command = forking.start("train.py", [*words(own, overlap=overlap), *on_ranks], cwd=tmp_path)
    steps = "outputs/s/*/seed-0/completions/step-*"
    assert command.wait_until(lambda: len(list(tmp_path.glob(steps))) >= 1)
    own.kill()
    stopped = command.wait()
    assert stopped.code == 2, stopped.out + stopped.err
    assert "No sampling server answers." in stopped.err
    train(forking, tmp_path, *words(server, overlap=overlap), *on_ranks)
    train(forking, tmp_path, *words(server, overlap=overlap), "study=t")
    two, one = (only_run(tmp_path, study=study).path for study in ("s", "t"))
    for file in sorted((one / "completions").glob("*"))[: 1 + overlap]:  # by weights that no sum over ranks has rounded
        theirs = pq.read_table(two / "completions" / file.name)
        assert theirs.equals(pq.read_table(file))
    assert trained_steps(only_run(tmp_path, study="s")) == list(range(1, NUM_STEPS + 1))


def test_no_file_and_no_line_holds_the_key(forking: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-of-the-test-12345"
    server = ServerProcess(forking, "--key", key, cwd=tmp_path).wait()
    keyed = Forking(VLLM_API_KEY=key)
    try:
        given = [*words(server), "study=s", "dataset.epochs=1"]
        finished = train(keyed, tmp_path, *given)
        refused = forking.run("train.py", [*given[:-2], "study=t"], cwd=tmp_path)
    finally:
        keyed.close()
        server.kill()
    assert "wants another API key" in refused.err
    assert key not in finished.out + finished.err + refused.out + refused.err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not [file for file in files if key.encode() in file.read_bytes()]


def test_evaluate_gives_the_accuracies_of_the_embedded_engine(forking: Forking, server: ServerProcess, tmp_path: Path) -> None:
    train(forking, tmp_path, *TINY, "dataset.source.train_rows=8", "study=s")
    (run,) = (tmp_path / "outputs" / "s").glob("*/seed-0/checkpoints/step-000004")
    for more in ([], ["rollout=vllm", f"rollout.engine.servers=[{server.url}]"]):
        finished = forking.run("evaluate.py", [f"checkpoint={run}", *more], cwd=tmp_path)
        assert finished.code == 0, finished.err
    files = sorted(tmp_path.rglob("evaluation.json"))
    one, other = (json.loads(file.read_text())["metrics"] for file in files)
    assert one == other
