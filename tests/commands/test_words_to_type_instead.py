"""Null where a file is chosen, and values of another type: what is told is what to type, and that works."""

import re
import sys
from pathlib import Path

import pytest
from hydra.utils import instantiate
from refusing import checked

from vlm_rl.commands.build import composed
from vlm_rl.commands.errors import message_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_algorithm"


def told(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Of words that cannot be trained with."""
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind; the message is what is looked at
        tried(words)
    assert isinstance(caught.value, Exception)
    message = message_of(caught.value)
    assert message is not None, "a traceback, where a person needs words"
    return message


def tried(words: list[str]) -> None:
    """As train.py does, up to where something is loaded."""
    cfg = composed(words)
    checked(cfg)
    instantiate(cfg.reward).close()


@pytest.mark.parametrize(
    ("typed", "said", "instead"),
    [
        (
            "algorithm=grpo algorithm/rollout_correction=null",
            "Switch that off by algorithm/rollout_correction=none.",
            "algorithm/rollout_correction=none",
        ),
        (
            "algorithm=grpo reward/term@reward.terms.language=null",
            "Leave that out by ~reward.terms.language.",
            "~reward.terms.language",
        ),
        ("algorithm=dapo reward/term@reward.terms.length=null", "by ~reward.terms.length.", "~reward.terms.length"),
        ("algorithm=grpo logger=null", "Switch that off by logger=none.", "logger=none"),
        ("algorithm=grpo evaluation/image=null", "Choose one: evaluation/image=blank, ", "evaluation/image=intact"),
        (
            "algorithm=grpo algorithm/dynamic_sampling=null",
            "dots: algorithm.dynamic_sampling=null.",
            "algorithm.dynamic_sampling=null",
        ),
    ],
)
def test_null_for_a_file_is_answered_with_a_word_that_does_what_was_meant(
    typed: str, said: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, word = typed.split()
    message = told(typed.split(), monkeypatch)
    assert message.startswith(f"{word} chooses no file.")
    assert said in message
    tried([chosen, instead])


def test_each_of_two_nulls_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(["logger=null", "algorithm/rollout_correction=null"], monkeypatch)
    assert "logger=none" in message
    assert "algorithm/rollout_correction=none" in message


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "algorithm=dapo algorithm.dynamic_sampling.oversample=null",
            "algorithm.dynamic_sampling.oversample=null, but it takes a number.",
        ),
        (
            "algorithm=dapo algorithm.dynamic_sampling.metric=1",
            "algorithm.dynamic_sampling.metric=1, but it takes accuracy or score.",
        ),
        ("algorithm=grpo algorithm.group_size=2.5", "algorithm.group_size=2.5, but it takes an integer."),
        ("algorithm=grpo algorithm.group_size=true", "algorithm.group_size=true, but it takes an integer."),
        ("algorithm=sft algorithm.ppo_epochs=[1]", "algorithm.ppo_epochs=[1], but it takes an integer."),
        ("algorithm=gspo algorithm.clip_low=abc", "algorithm.clip_low=abc, but it takes a number."),
        ("algorithm=rloo algorithm.num_minibatches=null", "algorithm.num_minibatches=null, but it takes an integer."),
        ("algorithm=rloo algorithm.whiten=1", "algorithm.whiten=1, but it takes true or false."),
        ("algorithm=grpo algorithm.scale_by=false", "algorithm.scale_by=false, but it takes group or batch or none."),
        (
            "algorithm=grpo algorithm/rollout_correction=mask algorithm.rollout_correction.min_ratio=low",
            "algorithm.rollout_correction.min_ratio=low, but it takes a number.",
        ),
        ("algorithm=grpo dataset.batch_size=many", "dataset.batch_size=many, but it takes an integer."),
        ("algorithm=grpo dataset.ppo_batch_size=few", "dataset.ppo_batch_size=few, but it takes an integer or null."),
        (
            "algorithm=grpo dataset.ppo_batch_size=null",
            "dataset.ppo_batch_size=null. Set it, or the optimizer steps themselves",
        ),
    ],
)
def test_a_value_of_another_type_is_named_with_the_type_that_the_key_takes(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(typed.split(), monkeypatch).startswith(said)


@pytest.mark.parametrize(
    ("head", "field", "said"),
    [
        ("", "own: int | None", "algorithm.own=2.5, but it takes an integer or null."),
        ("from __future__ import annotations\n", "own: int", "algorithm.own=2.5, but it takes an integer."),
        ("", "own: object", None),
        ("from __future__ import annotations\n", "own: OfTypeCheckers", None),
    ],
)
def test_so_is_one_of_an_algorithm_from_outside_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, field: str, said: str | None
) -> None:
    code = (
        (EXAMPLE / "cispo.py").read_text().replace("class Cispo(PolicyGradient):", f"class Cispo(PolicyGradient):\n    {field}")
    )
    (tmp_path / "cispo_with_a_field.py").write_text(head + code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cispo_with_a_field", raising=False)
    words = ["algorithm=cispo", "algorithm._target_=cispo_with_a_field.Cispo", "+algorithm.own=2.5"]
    cfg = composed(words, searchpath=[f"file://{EXAMPLE / 'conf'}"])
    if said is None:
        checked(cfg)
        return
    with pytest.raises(ValueError, match=re.escape(said)):
        checked(cfg)


def test_whole_numbers_are_numbers() -> None:
    tried(["algorithm=grpo", "algorithm.clip_low=0", "algorithm.kl_loss_coef=1", "algorithm.learning_rate_scale=2"])
