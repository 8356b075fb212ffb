"""From Enter to the first step: a command imports what it needs, when it needs it."""

import gc
import subprocess
import sys

import pytest

from vlm_rl.commands.many_imports import without_collections

IMPORTED = "import sys, {module}; print(*sys.modules)"


def imported_with(module: str) -> set[str]:
    """Libraries that a fresh process has loaded after this import."""
    program = IMPORTED.format(module=module)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ended.stdout.split()}


def test_what_is_typed_is_read_before_any_heavy_library_is_loaded() -> None:
    heavy = {
        "torch",
        "transformers",
        "lightning",
        "peft",
        "scipy",
        "matplotlib",
        "sympy",
        "rich",
        "wandb",
        "pandas",
        "datasets",
    }
    assert not imported_with("vlm_rl.commands.train") & heavy


@pytest.mark.slow
def test_a_run_loads_no_library_that_only_some_runs_need() -> None:
    assert not imported_with("vlm_rl.commands.training") & {"wandb", "pandas", "datasets", "joblib", "tensorboard"}


def test_the_first_imports_of_a_process_are_set_aside_from_the_collector_and_no_later_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = gc.get_freeze_count()
    with without_collections():  # torch was imported before
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
    monkeypatch.delitem(sys.modules, "torch")
    try:
        with without_collections():
            assert not gc.isenabled()
        assert gc.isenabled() and gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
