"""The wheel works without the checkout: it carries configs, tiny model and templates, and all commands run where it is installed."""

import json
import os
import shutil
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
# Files that no import asks for, so that nothing else would notice their absence.
CARRIED = ("vlm_rl/models/tiny/weights", "vlm_rl/reports", "vlm_rl/commands")
COMMANDS = ("train", "evaluate", "report", "export")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))))


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


def test_the_wheel_names_its_commands_and_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    commands = archive.read(f"{metadata_folder(wheel)}/entry_points.txt").decode()
    assert all(f"vlm-rl-{name} = vlm_rl.commands.{name}:main" in commands for name in COMMANDS)
    assert "Apache License" in archive.read(f"{metadata_folder(wheel)}/licenses/LICENSE").decode()


class Elsewhere:
    """An environment in which the wheel is installed and the checkout is not, and an empty folder to work in.

    What the wheel depends on is seen in the running environment. A line of a .pth file adds a folder and does not read the
    .pth files in it, so that an editable install of vlm_rl there stays out of sight.
    """

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "work"
        self.cwd.mkdir()
        venv.create(folder / "env", with_pip=True)
        self._bin = folder / "env" / "bin"
        (site,) = (folder / "env" / "lib").glob("python*/site-packages")
        packages = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (site / "dependencies.pth").write_text("\n".join(packages))

    def run(self, program: str, *arguments: str) -> str:
        """What a program of that environment prints; it must end well."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [self._bin / program, *arguments], cwd=self.cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *what: str | Path) -> None:
        """Without asking any index, and without touching the running environment."""
        quiet = (
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-index",
            "--ignore-installed",
            "--no-build-isolation",
        )
        self.run("python", "-m", "pip", "install", *quiet, *map(str, what))


QUICK = (  # the pilot of the README, with few rows and one epoch
    "num_threads=1",
    "dataset.source.train_rows=16",
    "dataset.source.val_rows=4",
    "dataset.source.test_rows=4",
    "dataset.batch_size=16",
    "dataset.ppo_batch_size=8",
    "dataset.epochs=1",
    "dataset.max_new_tokens=32",
)


@pytest.mark.slow
def test_the_installed_wheel_runs_all_commands_with_an_installed_overlay_from_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(tmp_path)
    shutil.copytree(ROOT / "examples" / "team_overlay", tmp_path / "overlay")
    elsewhere.install(wheel, tmp_path / "overlay")
    shutil.rmtree(tmp_path / "overlay")
    where = Path(elsewhere.run("python", "-c", "from vlm_rl.commands.paths import CONF_DIR; print(CONF_DIR)").strip())
    assert where.is_relative_to(tmp_path / "env")  # configs too are not those of the checkout
    ours, trust = "hydra.searchpath=[pkg://team_overlay.conf]", "trust=[team_overlay]"
    elsewhere.run("vlm-rl-train", ours, "experiment=gauges", "study=gauges", *QUICK)
    (run,) = elsewhere.cwd.glob("outputs/gauges/experiment-gauges*/seed-0")
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    printed = elsewhere.run("vlm-rl-evaluate", f"checkpoint={run}", trust, "evaluation.scheme.splits=[val]")
    assert "val/pass@1_t0.6" in printed
    elsewhere.run("vlm-rl-report", ours, "studies=[outputs/gauges]")
    report = json.loads((elsewhere.cwd / "outputs" / "gauges" / "report.json").read_text())
    (verdict,) = report["decision"]["verdicts"]
    assert verdict["outcome"] == "not_judged"
    assert verdict["said"] in elsewhere.run("vlm-rl-export", f"checkpoint={run}", "folder=mine", "merge=true", trust)
    assert (elsewhere.cwd / "mine" / "model.safetensors").exists()
    card = (elsewhere.cwd / "mine" / "README.md").read_text()
    assert all(sentence in card for sentence in (verdict["said"], *verdict["more"], "No claim is made that training helped."))
