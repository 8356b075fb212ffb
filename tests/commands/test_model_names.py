"""What is said of a model that is not there: which key, and what to write instead."""

import huggingface_hub.constants
import pytest

from vlm_rl.commands.errors import message_of
from vlm_rl.models.loading import load_config


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asks the hub, as with HF_HUB_OFFLINE=1."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def said_of(name: str) -> str:
    """The message for model.name=<name>."""
    with pytest.raises((OSError, ValueError)) as caught:
        load_config(name)
    return message_of(caught.value) or ""


@pytest.mark.parametrize("name", ["/models/qwen", "./qwen", "../qwen", "models/team/qwen", "~/qwen"])
def test_a_folder_that_is_not_there_is_said_to_be_none(name: str) -> None:
    told = said_of(name)
    assert told.startswith(f"There is no folder {name}. model.name is a folder that is there, or OWNER/NAME on the")
    assert ("$HOME" in told) == name.startswith("~")


def test_a_name_that_the_hub_would_refuse_is_told_in_the_hubs_words() -> None:
    assert "Repo id must" in said_of("some one/qwen")


def test_without_the_hub_the_message_names_the_key_a_folder_and_how_not_to_wait() -> None:
    told = said_of("nobody/nothing")
    assert all(part in told for part in ("The model of model.name", "model.name=FOLDER", "HF_HUB_OFFLINE=1"))
