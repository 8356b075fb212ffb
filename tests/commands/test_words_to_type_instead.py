"""Null where a file is chosen, and values of another type: what is told is what to type, and that works."""

import re
import sys
from pathlib import Path

import pytest
from hydra.utils import instantiate
from refusing import checked, refusal

from vlm_rl.commands.build import composed

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_algorithm"


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
    message = refusal(typed.split(), monkeypatch)
    assert message.startswith(f"{word} chooses no file.")
    assert said in message
    tried([chosen, instead])


def test_each_of_two_nulls_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(["logger=null", "algorithm/rollout_correction=null"], monkeypatch)
    assert "logger=none" in message
    assert "algorithm/rollout_correction=none" in message


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
