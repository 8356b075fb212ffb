"""What is said of words that cannot be trained with."""

import sys
from collections.abc import Callable, Sequence

import pytest
from omegaconf import DictConfig

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import checked_algorithm, checked_placement
from vlm_rl.commands.errors import message_of
from vlm_rl.commands.searchpath import KEY, typed


def checked(cfg: DictConfig) -> Algorithm:
    """All that train.py checks before anything is loaded."""
    checked_placement("train", cfg)
    return checked_algorithm("train", cfg)


def refusal(words: Sequence[str], monkeypatch: pytest.MonkeyPatch, *, begin: Callable[[DictConfig], object] = checked) -> str:
    """The message of whatever fails first. `begin`: how far the command goes."""
    monkeypatch.setattr(sys, "argv", ["train.py", *words])  # Hydra itself does not say which word it could not take
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind; the message is what is looked at
        begin(composed([word for word in words if not word.startswith(KEY)], searchpath=typed(words)))
    assert isinstance(caught.value, Exception)
    message = message_of(caught.value)
    assert message is not None, "a traceback, where a person needs words"
    return message
