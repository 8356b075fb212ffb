"""The wheel works without the checkout: it carries the configs, the tiny model and the report's template."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
# Files that no import asks for, so that nothing else would notice their absence.
CARRIED = ("vlm_rl/models/tiny/weights", "vlm_rl/reports")
# The folder of the configs on stderr: --cfg has stdout to itself.
PROGRAM = """
import sys
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.train import main
print(CONF_DIR, file=sys.stderr)
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def metadata_folder(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def tracked(folder: str) -> set[str]:
    """What git knows under a folder: a file somebody left lying there does not belong to the wheel."""
    done = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_wheel_carries_every_config(wheel: Path) -> None:
    configs = {f"vlm_rl/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert "vlm_rl/conf/train.yaml" in configs
    assert configs <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("folder", CARRIED)
def test_the_wheel_carries_what_lies_beside_the_code(wheel: Path, folder: str) -> None:
    files = tracked(folder)
    assert any(not name.endswith(".py") for name in files)
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_leaves_tests_and_outputs_at_home(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"vlm_rl", metadata_folder(wheel)}


def test_the_wheel_names_the_three_commands_and_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    commands = archive.read(f"{metadata_folder(wheel)}/entry_points.txt").decode()
    assert all(f"vlm-rl-{name} = vlm_rl.commands.{name}:main" in commands for name in ("train", "evaluate", "report"))
    assert "Apache License" in archive.read(f"{metadata_folder(wheel)}/licenses/LICENSE").decode()


def test_an_installed_wheel_composes_its_own_configs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "experiment=smoke", "--cfg", "job"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(installed / "vlm_rl" / "conf") in done.stderr  # and not those of the checkout
    assert "train_rows: 16" in done.stdout  # a value of conf/experiment/smoke.yaml
    assert list(tmp_path.iterdir()) == []
