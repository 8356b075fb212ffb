"""One screen for one algorithm: at most two levels of classes, and words to choose from are Literals."""

import importlib
import inspect
import pkgutil
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest
from every_algorithm import EVERY, shipped

import vlm_rl.algorithms
from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.policy_gradient import PolicyGradient

TEXTS = {"key", "wanted", "example"}  # of an error message: any text
PACKAGE = vlm_rl.algorithms.__name__
MODULES = [importlib.import_module(f"{PACKAGE}.{found.name}") for found in pkgutil.iter_modules(vlm_rl.algorithms.__path__)]


def own(kind: Any) -> list[Any]:
    """All of a kind that the package itself defines."""
    return [thing for module in MODULES for _, thing in inspect.getmembers(module, kind) if thing.__module__ == module.__name__]


CLASSES: list[type] = own(inspect.isclass)
FUNCTIONS = [
    *own(inspect.isfunction),
    *(method for kind in CLASSES for method in vars(kind).values() if inspect.isfunction(method)),
]


def test_what_is_read_here_is_all_that_is_shipped() -> None:
    """The control: with a wrong path every test here would pass."""
    assert {type(shipped(name)) for name in EVERY} <= set(CLASSES)
    assert len(FUNCTIONS) > 50


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_derives_from_policy_gradient_or_algorithm_directly_or_from_nothing_here(kind: type) -> None:
    parents = [base for base in kind.__bases__ if base.__module__.startswith("vlm_rl")]
    if issubclass(kind, Algorithm):
        assert parents in ([Algorithm], [PolicyGradient]) or kind is Algorithm
    else:
        assert parents == []
    assert PolicyGradient.__bases__ == (Algorithm,)


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_algorithm_is_no_other_one_with_changes(name: str) -> None:
    above = [kind for kind in type(shipped(name)).__mro__[1:] if kind.__module__.startswith("vlm_rl")]
    assert above in ([Algorithm], [PolicyGradient, Algorithm])


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if is_dataclass(kind)], ids=lambda kind: kind.__name__)
def test_no_setting_is_any_text(kind: type) -> None:
    hints = get_type_hints(kind)
    assert [field.name for field in fields(kind) if hints[field.name] is str] == []  # type: ignore[arg-type]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_no_argument_is_any_text_but_those_of_messages(function: Any) -> None:
    hints = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    assert {name for name, hint in hints.items() if hint is str and name != "return"} <= TEXTS
