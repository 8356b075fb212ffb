"""A run folder from anybody must not have questions, pictures or a secret of this machine sent to somebody."""

from pathlib import Path

import pytest

from vlm_rl.commands.build import composed
from vlm_rl.commands.stored_servers import check_servers

FILE = Path("given/manifest.json")
OURS = ["rollout=vllm", "rollout.engine.servers=[http://mine:1]"]
STORED = [
    ["rollout=vllm", "rollout.engine.servers=[http://evil:1]"],
    ["rollout=vllm", "rollout.engine.api_key_variable=AWS_SECRET_ACCESS_KEY"],
    ["rollout=vllm", "rollout.engine.exchange=/home/somebody"],
    ["rollout=vllm", "rollout.evaluation_engine={_target_:vlm_rl.rollout.vllm_engine.VllmEngine,servers:[http://evil:1]}"],
    ["rollout.evaluation_engine={_target_:vlm_rl.rollout.vllm_engine.VllmEngine,servers:[http://evil:1]}"],
]


@pytest.mark.parametrize("stored", STORED, ids=lambda words: words[-1][:40])
@pytest.mark.parametrize("typed", [[], OURS], ids=["nothing", "own servers"])
def test_what_only_the_stored_run_says_is_refused(stored: list[str], typed: list[str]) -> None:
    cfg = composed([*stored, *typed])
    if stored == STORED[0] and typed:
        check_servers(cfg, file=FILE, words=typed)  # what was typed stands in its place
        return
    with pytest.raises(ValueError, match="no stored run decides to whom"):
        check_servers(cfg, file=FILE, words=typed)


@pytest.mark.parametrize("words", [[], ["rollout=vllm"], OURS, ["rollout=solutions"]], ids=str)
def test_what_is_typed_or_usual_is_taken(words: list[str]) -> None:
    check_servers(composed(words), file=FILE, words=words)
