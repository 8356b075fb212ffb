"""What if a move were missing? Every place of the package that moves or makes a tensor on a device, taken away one by one.

mutants.py takes them all away, each in a process of its own, and says which the logical GPU caught.
"""

import ast
import copy
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vlm_rl"
LEFT_OUT = ("preflight", "reports")  # they estimate and read; nothing is trained there
SHOWN = 30  # characters of each end of a long call
KEYWORDS = ("device", "map_location")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A call that names a device."""

    file: str  # below the package
    function: str  # qualified name
    code: str
    number: int  # among those of the file
    repeated: int  # how often the same stands before it in the function

    @property
    def name(self) -> str:
        """Without a line number, which any edit would change."""
        again = f" ({self.repeated + 1})" if self.repeated else ""
        code = self.code if len(self.code) <= 2 * SHOWN else f"{self.code[:SHOWN]} ... {self.code[-SHOWN:]}"
        return f"{self.file}:{self.function}: {code}{again}"


def places() -> list[Place]:
    """All of the package, file by file."""
    files = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    return [place for file in files if file.parts[0] not in LEFT_OUT for place in _places_in(str(file))]


def _places_in(file: str) -> Iterator[Place]:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    names, before = _names(tree), Counter[str]()
    for number, call in enumerate(_calls(tree)):
        function, code = names[id(call)], ast.unparse(call)
        yield Place(file=file, function=function, code=code, number=number, repeated=before[function + code])
        before[function + code] += 1


def _calls(tree: ast.AST) -> list[ast.Call]:
    """In the order of the file."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and names_device(node)]
    return sorted(calls, key=lambda call: (call.end_lineno, call.end_col_offset))


def _names(tree: ast.AST, within: str = "") -> dict[int, str]:
    """The qualified name of the outermost function or of the class around each node."""
    found: dict[int, str] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            found |= {id(inner): f"{within}{node.name}" for inner in ast.walk(node)}
        else:
            inside = f"{within}{node.name}." if isinstance(node, ast.ClassDef) else within
            found |= {id(node): within.rstrip(".")} | _names(node, inside)
    return found


def names_device(call: ast.Call) -> bool:
    """`.to(policy.device)`, `.cuda()`, and `device=` of what makes a tensor; the meta device, which computes nothing, is none."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr == "cuda":
        return True
    if function.attr == "to":
        return any(map(is_device, (*call.args, *(keyword.value for keyword in call.keywords))))
    of_torch = isinstance(function.value, ast.Name) and function.value.id == "torch"
    given = [keyword for keyword in call.keywords if keyword.arg in KEYWORDS]
    is_meta = any(isinstance(keyword.value, ast.Constant) for keyword in given)
    return bool(given) and (of_torch or function.attr.startswith("new_")) and not is_meta


def is_device(expression: ast.expr) -> bool:
    """Whether its last word says so."""
    if isinstance(expression, ast.Constant):
        return isinstance(expression.value, str)
    word = expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")
    return bool(word.endswith("device"))


def without(call: ast.Call) -> ast.expr:
    """The call with no word of a device; a call of `.to` that says nothing else falls away."""
    assert isinstance(call.func, ast.Attribute)
    left = copy.copy(call)
    left.args = [] if call.func.attr == "cuda" else [argument for argument in call.args if not is_device(argument)]
    left.keywords = [keyword for keyword in call.keywords if keyword.arg not in KEYWORDS and not is_device(keyword.value)]
    if call.func.attr in ("to", "cuda") and not left.args and not left.keywords:
        return call.func.value
    return left


class _Without(ast.NodeTransformer):
    def __init__(self, call: ast.Call) -> None:
        self._call = call

    def visit_Call(self, node: ast.Call) -> ast.AST:
        changed = without(node) if node is self._call else node
        return self.generic_visit(changed)


def take_away(place: Place) -> None:
    """Changes the code of the function in this process, wherever it has been imported."""
    path = PACKAGE / place.file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    changed = _Without(_calls(tree)[place.number]).visit(tree)
    whole = compile(ast.fix_missing_locations(changed), str(path), "exec")
    function = function_of(place)
    function.__code__ = next(code for code in _codes(whole) if code.co_qualname == place.function)


def function_of(place: Place) -> FunctionType:
    """The function itself, without decorators."""
    found: Any = importlib.import_module("vlm_rl." + place.file.removesuffix(".py").replace("/", "."))
    for name in place.function.split("."):
        found = inspect.getattr_static(found, name)
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    function = inspect.unwrap(found)
    assert isinstance(function, FunctionType)
    return function


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)
