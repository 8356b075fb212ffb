"""What a server gets of a GPU that it shares with the trainer, and that a trainer beside servers is not counted as a sampler."""

import sys
from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from test_preflight_estimate import PROMPTS

from vlm_rl.commands import memory_share, serve_flags
from vlm_rl.commands.build import composed
from vlm_rl.commands.memory_share import share_beside
from vlm_rl.commands.preflight_estimate import phases_of, workload_of
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.models.policy import Policy
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.phase import Phase

GIB = 2**30
SAMPLING = {names.PREFILL, names.FIRST_TOKENS, names.LAST_TOKENS}


@pytest.mark.parametrize(
    ("peak", "total", "share"),
    [
        (25 * GIB, 80 * GIB, 0.65),  # (80 - 27.5) / 80 = 0.656
        (58 * GIB, 80 * GIB, 0.20),  # (80 - 63.8) / 80 = 0.2025
        (1 * GIB, 80 * GIB, 0.90),  # 0.986 would leave no room for two CUDA contexts
    ],
)
def test_a_server_gets_what_the_trainer_leaves_rounded_down(peak: int, total: int, share: float) -> None:
    assert share_beside(peak, total=total) == share


def test_a_trainer_that_leaves_too_little_is_refused() -> None:
    """(80 - 64.9) / 80 = 0.189."""
    with pytest.raises(ValueError, match=r"needs 59\.0 GiB of the 80\.0 GiB of this GPU, .* give the server a GPU of its own"):
        share_beside(59 * GIB, total=80 * GIB)


def phases(*words: str) -> dict[str, Phase]:
    cfg = composed(["experiment=smoke", *words])
    with torch.device("meta"):
        policy: Policy = instantiate(cfg.model, temperature=1.0, seed=0, untrained=True)
    workload = workload_of(cfg, instantiate(cfg.dataset), instantiate(cfg.algorithm), prompts=PROMPTS, on_gpu=True)
    return {phase.name: phase for phase in phases_of(cfg, policy, workload)}


@pytest.mark.slow
def test_a_trainer_beside_servers_is_counted_without_sampling_and_else_as_ever() -> None:
    embedded, served = phases(), phases("rollout=vllm")
    assert embedded.keys() - served.keys() == SAMPLING
    assert all(names.KV_CACHE not in phase.parts for phase in served.values())
    assert {name: phase.parts for name, phase in served.items()} == {
        name: phase.parts for name, phase in embedded.items() if name not in SAMPLING
    }


Lines = Callable[..., list[str]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lines:
    """What serve_flags prints where the trainer needs 20 GiB, and with batches of 16 queries 30 GiB."""

    def peak(cfg: DictConfig, dataset: Dataset) -> int:
        return (30 if cfg.dataset.batch_size == 16 else 20) * GIB

    def run(*words: str, share: str | None, ports: str = "8000") -> list[str]:
        monkeypatch.setattr(memory_share, "_peak_bytes", peak)
        monkeypatch.setattr(sys, "argv", ["serve_flags", "rollout=vllm", "experiment=smoke", *words])
        monkeypatch.setattr(sys, "__stdout__", sys.stdout)
        monkeypatch.setenv("PORT", ports)
        monkeypatch.delenv("MEMORY_SHARE", raising=False)
        if share is not None:
            monkeypatch.setenv("MEMORY_SHARE", share)
        serve_flags.main()
        return capsys.readouterr().out.splitlines()

    return run


def test_the_share_ends_the_command_and_each_port_has_a_line(lines: Lines) -> None:
    """(80 - 22) / 80 = 0.725."""
    one, other = lines("preflight.device_memory=80GiB", share="auto", ports="8000,8003")
    assert one.endswith("--port 8000 --gpu-memory-utilization 0.72")
    assert other == one.replace("8000", "8003")
    assert lines(share="0.5")[0].endswith("--port 8000 --gpu-memory-utilization 0.5")
    assert lines(share="")[0].endswith("--port 8000")


def test_of_a_sweep_the_largest_trainer_counts(lines: Lines) -> None:
    """(80 - 33) / 80 = 0.5875."""
    (line,) = lines("preflight.device_memory=80GiB", "dataset.batch_size=8,16", "seed=range(5)", "-m", share="auto")
    assert line.endswith("--gpu-memory-utilization 0.58")


@pytest.mark.parametrize(
    ("words", "share", "told"),
    [
        ((), "auto", "no GPU is here. Say how large it is by preflight.device_memory=80GiB"),
        (("dataset.max_new_tokens=8,9", "-m"), None, "want servers with other flags"),
    ],
)
def test_what_has_no_answer_is_said(
    words: tuple[str, ...], share: str | None, told: str, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available() and share == "auto":
        pytest.skip("a GPU is here")
    with pytest.raises(SystemExit, match="2"):
        lines(*words, share=share)
    assert told in capsys.readouterr().err
