"""A real server that was started otherwise than the run needs it: the message names the flag or variable that mends it."""

import re
from pathlib import Path

import pytest
from conftest import TINY
from real_server import serving
from served import Served, served_by

from vlm_rl.commands.model_forwards import loaded_model
from vlm_rl.commands.serve_flags import advice
from vlm_rl.commands.server_checks import check_servers
from vlm_rl.rollout.server_probe import UnfitServer

MAX_TOKENS = 352  # of a prompt with its response, as the data set has it


def check(served: Served, *, max_tokens: int = MAX_TOKENS) -> None:
    """What train.py does before its first step."""
    of = served.experiment
    model = loaded_model(of.policy, of.encoder, of.dataset, tolerance=1e-4)
    with served.engine() as engine:
        check_servers(engine, model, max_tokens=max_tokens, advice=advice(of.cfg, of.dataset))


def complaint(served: Served, *, max_tokens: int = MAX_TOKENS) -> str:
    """What is said of an unfit server, without the command at the end."""
    with pytest.raises(UnfitServer) as caught:
        check(served, max_tokens=max_tokens)
    return str(caught.value).split("\nA server for this run")[0]


def test_a_server_as_serve_flags_starts_it_fits(tiny: Served, capsys: pytest.CaptureFixture[str]) -> None:
    check(tiny)
    assert "agree with the trainer" in capsys.readouterr().out


def test_adapters_of_a_higher_rank_are_refused_with_the_flag(tiny: Served, tmp_path: Path) -> None:
    larger = served_by((*TINY, "model.lora.rank=32"), tiny.url, exchange=tmp_path)
    assert re.search(r"rank 32 .*max_lora_rank.* 16.*--max-lora-rank", complaint(larger))


def test_a_server_of_log_probabilities_before_the_temperature_and_of_too_few_tokens_is_told(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with serving(TINY, "--max-model-len", "300", log=log, dropped_flag="--logprobs-mode") as url:
        served = served_by(TINY, url, exchange=tmp_path)
        assert "Start it with --max-model-len 352." in complaint(served)
        assert "start it with --logprobs-mode processed_logprobs." in complaint(served, max_tokens=300)


def test_a_server_that_takes_no_adapters_at_run_time_or_a_lower_rank_is_told_the_variable(tmp_path: Path) -> None:
    with serving(TINY, "--max-lora-rank", "8", log=tmp_path / "server.log", variables={}) as url:
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in complaint(served_by(TINY, url, exchange=tmp_path))
