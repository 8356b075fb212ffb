"""One screen for one algorithm: at most two levels of classes, and words to choose from are Literals."""

import importlib
import inspect
import pkgutil
from typing import Any

from every_algorithm import EVERY, shipped

import vlm_rl.algorithms
from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.policy_gradient import PolicyGradient

TEXTS = {"key", "wanted", "example"}  # of an error message: any text
MODULES = [
    importlib.import_module(f"{vlm_rl.algorithms.__name__}.{found.name}")
    for found in pkgutil.iter_modules(vlm_rl.algorithms.__path__)
]


def own(kind: Any) -> list[Any]:
    """All of a kind that the package itself defines."""
    return [thing for module in MODULES for _, thing in inspect.getmembers(module, kind) if thing.__module__ == module.__name__]


CLASSES: list[type] = own(inspect.isclass)


def test_a_class_derives_from_policy_gradient_or_algorithm_directly_or_from_nothing_here() -> None:
    assert {type(shipped(name)) for name in EVERY} <= set(CLASSES)  # the control: with a wrong path there would be none
    assert PolicyGradient.__bases__ == (Algorithm,)
    for kind in CLASSES:
        parents = [base for base in kind.__bases__ if base.__module__.startswith("vlm_rl")]
        assert (
            parents in ([Algorithm], [PolicyGradient]) if issubclass(kind, Algorithm) and kind is not Algorithm else not parents
        )
    assert all(type(shipped(name)).__bases__ in ((Algorithm,), (PolicyGradient,)) for name in EVERY)


def test_no_setting_and_no_argument_is_any_text_but_those_of_messages() -> None:
    methods = [method for kind in CLASSES for method in vars(kind).values() if inspect.isfunction(method)]
    functions = [*own(inspect.isfunction), *methods]
    assert len(functions) > 50
    for made in (*functions, *CLASSES):  # the fields of a dataclass are its annotations
        hints = inspect.get_annotations(inspect.unwrap(made), eval_str=True)
        assert {name for name, hint in hints.items() if hint is str and name != "return"} <= TEXTS, made
