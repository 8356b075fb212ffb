"""The import table of the design, read from the source: who may know whom. Nothing is imported here."""

import ast
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vlm_rl"
FOUNDATION = {
    "arm_hash",
    "checksums",
    "device",
    "durable_files",
    "masking",
    "randomness",
    "ranks",
    "run_folder",
    "run_lock",
    "stopwatch",
    "types",
}
# A part may import the parts below it, never one above or beside it. `datasets.row` is a shape and counts as foundation.
LAYERS = (
    {"commands"},
    {"callbacks", "reports", "preflight"},
    {"module"},
    {"pipeline", "evaluation"},
    {"rollout"},
    {"models"},
    {"datasets"},
    {"rewards", "algorithms"},
    FOUNDATION,
)
SHAPES = {"vlm_rl.datasets.row"}
DUMPING_GROUNDS = {"utils", "util", "common", "helpers", "helper", "base", "misc"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Dotted names that a module imports at any depth, `from a import b` as a.b where b is a module and as a otherwise."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else str(node.module) for name in full}
    return frozenset(names)


def importers(library: str) -> set[str]:
    return {module for module in MODULES if any(name.split(".")[0] == library for name in imports(module))}


def part_of(module: str) -> str:
    return "types" if module in SHAPES else f"{module}.".split(".")[1]


def depth_of(part: str) -> int:
    return next(depth for depth, layer in enumerate(LAYERS) if part in layer)


def edges() -> Iterator[tuple[str, str]]:
    """(importer, imported) for each import that crosses from one part of the package to another."""
    for module in MODULES:
        for name in imports(module):
            if module != "vlm_rl" and name.startswith("vlm_rl.") and part_of(module) != part_of(name):
                yield module, name


def test_every_part_of_the_package_has_its_place_in_the_table() -> None:
    parts = {module.split(".")[1] for module in MODULES if "." in module}
    assert parts <= set().union(*LAYERS), "a new part needs a layer in this file and a line in the README's tree"


def test_imports_point_downwards_only() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in edges()
        if depth_of(part_of(importer)) >= depth_of(part_of(imported)) and part_of(imported) not in FOUNDATION
    ]
    assert wrong == []


def test_the_foundation_imports_nothing_above_itself() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in edges()
        if part_of(importer) in FOUNDATION and part_of(imported) not in FOUNDATION
    ]
    assert wrong == []


def test_modules_import_each_other_in_no_circle() -> None:
    open_ends = {module: (imports(module) & MODULES.keys()) - {module} for module in MODULES}
    while leaves := {module for module, names in open_ends.items() if not names}:
        open_ends = {module: names - leaves for module, names in open_ends.items() if module not in leaves}
    assert open_ends == {}


@pytest.mark.parametrize("library", ["hydra", "omegaconf"])
def test_only_the_commands_know_configs(library: str) -> None:
    assert {part_of(module) for module in importers(library)} <= {"commands"}


@pytest.mark.parametrize(
    ("part", "library"),
    itertools.chain(
        itertools.product(["algorithms", "rewards", "evaluation", "reports"], ["lightning", "hydra", "omegaconf"]),
        itertools.product(["reports"], ["torch", "transformers", "peft"]),
    ),
)
def test_a_part_does_not_know_the_machinery_around_it(part: str, library: str) -> None:
    assert not {module for module in importers(library) if part_of(module) == part}


def test_reports_reach_no_trainer_even_through_others() -> None:
    reached: set[str] = set()
    queue = {module for module in MODULES if part_of(module) == "reports"}
    while queue:
        reached |= queue
        queue = {name for module in queue for name in imports(module) if name in MODULES} - reached
    assert not {part_of(module) for module in reached} & {"module", "pipeline", "callbacks", "algorithms", "commands"}


def test_vllm_is_spoken_to_and_never_imported() -> None:
    assert importers("vllm") == set()


def test_wandb_is_known_to_the_workspace_and_to_the_sink_of_tables_alone() -> None:
    """Lightning's WandbLogger takes numbers and plain tables; a table with pictures needs wandb.Image and wandb.Table."""
    assert importers("wandb") | importers("wandb_workspaces") <= {
        "vlm_rl.reports.wandb_workspace",
        "vlm_rl.callbacks.logger_sinks",
    }


def test_the_package_itself_is_empty() -> None:
    assert (PACKAGE / "__init__.py").read_text(encoding="utf-8").strip() == ""


def test_no_module_is_a_dumping_ground() -> None:
    assert not {module for module in MODULES if DUMPING_GROUNDS & set(module.split("."))}


def test_the_modules_read_are_those_of_the_package() -> None:
    """The control: a wrong path or name would make every test here pass."""
    assert {"vlm_rl.module", "vlm_rl.pipeline.step4_policy_update", "vlm_rl.commands.train"} <= MODULES.keys()
    assert "vlm_rl.types" in imports("vlm_rl.masking")
    assert importers("hydra")
