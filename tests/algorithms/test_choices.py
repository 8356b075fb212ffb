"""Settings that are one of a few words: each is a Literal, and each of them is checked when the algorithm is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from every_algorithm import EVERY, shipped

from vlm_rl.algorithms.choices import check_choices
from vlm_rl.algorithms.dynamic_sampling import DynamicSampling
from vlm_rl.algorithms.rollout_correction import RatioMask, TruncatedImportanceSampling

if TYPE_CHECKING:
    from pathlib import Path as OnlyOfTypeCheckers

SETTINGS: list[tuple[str, Any]] = [
    *(("algorithm", shipped(name)) for name in EVERY),
    ("algorithm.dynamic_sampling", DynamicSampling(metric="score", oversample=1.5)),
    ("algorithm.rollout_correction", TruncatedImportanceSampling(level="token", max_ratio=2.0)),
    ("algorithm.rollout_correction", RatioMask(level="token", min_ratio=0.5, max_ratio=2.0)),
]
CHOICES = [
    (key, made, name, get_args(hint))
    for key, made in SETTINGS
    for name, hint in get_type_hints(type(made)).items()
    if get_origin(hint) is Literal
]


def test_these_are_the_choices_that_there_are() -> None:
    """The control: a wrong reading of annotations would leave nothing to check."""
    assert {name: words for *_, name, words in CHOICES} == {
        "kl_loss_estimator": ("k2", "k3"),
        "kl_reward_estimator": ("k1", "k2", "k3"),
        "scale_by": ("group", "batch", "none"),
        "loss_average": ("response", "token"),
        "ratio_level": ("token", "sequence"),
        "score_at": ("eos", "last_token"),
        "whiten_over": ("response", "token"),
        "metric": ("accuracy", "score"),
        "level": ("token", "sequence"),
        "minibatch_of": ("responses", "groups"),
        "old_logprobs": ("engine", "recompute"),
    }


@pytest.mark.usefixtures("as_in_a_run")
def test_each_choice_is_taken_and_another_word_is_an_error_that_names_the_key_and_all_choices() -> None:
    for key, made, name, words in CHOICES:
        assert [getattr(replace(made, **{name: word}), name) for word in words] == list(words)
        for wrong in ("other", None):
            with pytest.raises(ValueError, match=f"{name} is") as caught:
                replace(made, **{name: wrong})
            assert str(caught.value) == f"{key}.{name} is {wrong!r}; it is one of {', '.join(words)}."


@dataclass(frozen=True, kw_only=True)
class Parent:
    """Of a team's own code, whose annotations are texts: this module imports `annotations`."""

    unit: Literal["token", "response"]
    num_passes: Literal[1, 2]

    def __post_init__(self) -> None:
        check_choices(self, key="algorithm")


@dataclass(frozen=True, kw_only=True)
class WithMoreWords(Parent):
    """Takes one word more."""

    unit: Literal["token", "response", "batch"]  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class OfAnyWord(Parent):
    """Chooses among nothing, and its annotation is no type when it runs."""

    unit: OnlyOfTypeCheckers  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "taken", "refused", "message"),
    [
        (Parent, ("token", 1), ("word", 1), "algorithm.unit is 'word'; it is one of token, response."),
        (Parent, ("response", 2), ("token", 3), "algorithm.num_passes is 3; it is one of 1, 2."),
        (WithMoreWords, ("batch", 1), ("word", 1), "algorithm.unit is 'word'; it is one of token, response, batch."),
        (OfAnyWord, ("anything", 2), ("anything", 3), "algorithm.num_passes is 3; it is one of 1, 2."),
    ],
)
def test_choices_of_a_teams_own_class(kind: Any, taken: tuple[Any, Any], refused: tuple[Any, Any], message: str) -> None:
    assert kind(unit=taken[0], num_passes=taken[1]).unit == taken[0]
    with pytest.raises(ValueError, match="it is one of") as caught:
        kind(unit=refused[0], num_passes=refused[1])
    assert str(caught.value) == message
