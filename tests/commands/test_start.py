"""From Enter to the first step: a command imports what it needs, when it needs it."""

import subprocess
import sys

import pytest

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
