"""Adapters, settings of a processor, attention and a trainer's state that do more than they should are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlm_rl.callbacks.checkpoint import _state
from vlm_rl.models.folder_files import check_adapter
from vlm_rl.models.loading import check_weights, load_processor

ADAPTER = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "q_proj", "megatron_core": "megatron.core"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"megatron_core": "megatron.evil"},
        {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
        {"layer_replication": [[0, 1000]]},
        {"r": 10**9},
        {"rank_pattern": {"q": 10**9}},
        {"init_lora_weights": "pissa"},
        {"peft_type": "BONE"},
        {"unheard_of": "x"},
        {"target_modules": {"a": 1}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_adapter_with_other_keys_than_ours_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(ADAPTER))
    check_adapter(file)
    file.write_text(json.dumps(ADAPTER | wrong))
    with pytest.raises(ValueError, match=rf"adapter_config\.json: {next(iter(wrong))}=.* nothing that a run .*export the run"):
        check_weights(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"trust_remote_code": True}, {"cache_dir": "/tmp"}, {"token": "x"}, {"proxies": {}}, {"local_dir": "x"}, {"code_revision": "x"},
     {"_from_auto": True}, {"subfolder": "../outside"}, {"subfolder": "/etc"}, {"tokenizer_file": "/etc/passwd"}],
)  # fmt: skip
def test_settings_of_a_processor_that_reach_beyond_it_are_refused_first(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=rf"^model\.processor\.{next(iter(settings))}"):
        load_processor(str(tmp_path / "nothing is here"), settings)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x80\x04cos\nsystem\n(S'touch exploded'\ntR."])
def test_a_state_that_is_damaged_is_told_without_advice_to_run_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "trainer_state.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"trainer_state\.pt is damaged, .*Remove the folder .*checkpoint before") as caught:
        _state(file)
    assert "weights_only" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
