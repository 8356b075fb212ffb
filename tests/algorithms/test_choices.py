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

SETTINGS: dict[str, tuple[str, Any]] = {name: ("algorithm", shipped(name)) for name in EVERY} | {
    "dynamic sampling": ("algorithm.dynamic_sampling", DynamicSampling(metric="score", oversample=1.5)),
    "truncate": ("algorithm.rollout_correction", TruncatedImportanceSampling(level="token", max_ratio=2.0)),
    "mask": ("algorithm.rollout_correction", RatioMask(level="token", min_ratio=0.5, max_ratio=2.0)),
}


def literals(kind: type) -> dict[str, tuple[str, ...]]:
    """The words of each field that has some."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


CHOICES = [(label, field) for label, (_, made) in SETTINGS.items() for field in literals(type(made))]


def test_these_are_the_choices_that_there_are() -> None:
    """The control: a wrong reading of annotations would leave nothing to check."""
    found = {field: words for _, made in SETTINGS.values() for field, words in literals(type(made)).items()}
    assert found == {
        "kl_loss_estimator": ("k2", "k3"),
        "kl_reward_estimator": ("k1", "k2", "k3"),
        "scale_by": ("group", "batch", "none"),
        "loss_average": ("response", "token"),
        "ratio_level": ("token", "sequence"),
        "score_at": ("eos", "last_token"),
        "whiten_over": ("response", "token"),
        "metric": ("accuracy", "score"),
        "level": ("token", "sequence"),
    }


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize(("label", "field"), CHOICES)
@pytest.mark.parametrize("wrong", ["other", "", None, 1])
def test_a_word_that_is_none_of_the_choices_is_an_error_that_names_the_key_and_all_of_them(
    label: str, field: str, wrong: object
) -> None:
    key, made = SETTINGS[label]
    with pytest.raises(ValueError, match=f"{field} is") as caught:
        replace(made, **{field: wrong})
    assert str(caught.value) == f"{key}.{field} is {wrong!r}; it is one of {', '.join(literals(type(made))[field])}."


@pytest.mark.parametrize(("label", "field"), CHOICES)
def test_each_of_the_choices_is_taken(label: str, field: str) -> None:
    made = SETTINGS[label][1]
    for word in literals(type(made))[field]:
        assert getattr(replace(made, **{field: word}), field) == word


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


def test_an_annotation_that_is_a_text_is_read() -> None:
    with pytest.raises(ValueError, match=r"^algorithm.unit is 'word'; it is one of token, response\.$"):
        Parent(unit="word", num_passes=1)  # type: ignore[arg-type]


def test_choices_that_are_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"^algorithm.num_passes is 3; it is one of 1, 2\.$"):
        Parent(unit="token", num_passes=3)  # type: ignore[arg-type]


def test_the_annotation_of_the_class_itself_counts_and_not_that_of_its_parent() -> None:
    assert WithMoreWords(unit="batch", num_passes=1).unit == "batch"
    with pytest.raises(ValueError, match=r"^algorithm.unit is 'word'; it is one of token, response, batch\.$"):
        WithMoreWords(unit="word", num_passes=1)  # type: ignore[arg-type]


def test_an_annotation_that_only_a_type_checker_can_read_chooses_among_nothing_and_the_others_are_checked() -> None:
    made: Any = OfAnyWord(unit="anything", num_passes=2)  # type: ignore[arg-type]
    assert made.unit == "anything"
    with pytest.raises(ValueError, match=r"^algorithm.num_passes is 3; it is one of 1, 2\.$"):
        OfAnyWord(unit="anything", num_passes=3)  # type: ignore[arg-type]
