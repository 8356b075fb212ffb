"""launchers/slurm.sh where there is no SLURM: Lightning under its variables, and the file that sbatch would get."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.utils import instantiate
from launcher_scripts import ROOT, environment, words
from lightning import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig

from vlm_rl.commands import placement, resolvers
from vlm_rl.commands.checks import checked_placement
from vlm_rl.commands.paths import CONF_DIR

SBATCH = '#!/usr/bin/env bash\ncp "$1" "$COPY"\necho "no such partition" >&2; exit 1\n'


def composed(command: list[str]) -> DictConfig:
    """The config of `train.py -m WORDS`, Hydra's own part too."""
    resolvers.register()
    overrides = command[command.index("-m") + 1 :]
    with initialize_config_dir(CONF_DIR, version_base="1.3", job_name="train"):
        return compose("train", overrides=overrides, return_hydra_config=True)


def under_slurm(monkeypatch: pytest.MonkeyPatch, *, nodes: int, tasks: int, node: int, place: int) -> None:
    """The variables that srun sets for one of `tasks` tasks on one of the nodes."""
    variables = {
        "SLURM_JOB_ID": 4711,
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": nodes * tasks,
        "SLURM_NTASKS_PER_NODE": tasks,
        "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NNODES": nodes,
        "SLURM_NODELIST": f"node[1-{nodes}]",
        "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
        "SLURM_PROCID": node * tasks + place,
        "SLURM_LOCALID": place,
        "SLURM_NODEID": node,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def launch(trainer: Trainer) -> str:
    """What `fit` does first: processes for the other ranks, where nobody else starts them."""
    launcher = trainer.strategy.launcher
    assert launcher is not None
    return launcher.launch(lambda: "in this process", trainer=None)


@pytest.fixture
def cfg(tmp_path: Path) -> DictConfig:
    """What slurm.sh gives a run of 2 nodes with 4 GPUs each; the GPUs are CPUs here."""
    return composed(words("slurm.sh", "study=a", "trainer.accelerator=cpu", folder=tmp_path, GPUS="4", NODES="2"))


@pytest.mark.parametrize(("node", "place"), [(0, 0), (0, 3), (1, 0), (1, 3)])
def test_each_task_is_the_rank_that_slurm_made_it(
    node: int, place: int, cfg: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = cfg.hydra.launcher
    under_slurm(monkeypatch, nodes=launcher.nodes, tasks=launcher.tasks_per_node, node=node, place=place)
    mine = placement.place(cfg.trainer)
    assert (mine.rank, mine.local_rank, mine.num_local_ranks, mine.num_ranks) == (4 * node + place, place, 4, 8)
    assert (mine.are_started, mine.address) == (True, "node1")
    trainer: Trainer = instantiate(cfg.trainer, logger=False)
    assert (trainer.global_rank, trainer.local_rank, trainer.node_rank) == (4 * node + place, place, node)
    assert (trainer.world_size, trainer.num_devices, trainer.num_nodes) == (8, 4, 2)
    monkeypatch.setattr(subprocess, "Popen", None)  # no process of Lightning's beside SLURM's
    assert launch(trainer) == "in this process"
    around = trainer.strategy.cluster_environment
    assert isinstance(around, SLURMEnvironment) and around.main_address == "node1"


def test_one_task_a_node_is_refused(cfg: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control, and what slurm.sh once asked for."""
    under_slurm(monkeypatch, nodes=2, tasks=1, node=0, place=0)
    with pytest.raises(ValueError, match="ntasks-per-node=1` does not match"):
        launch(instantiate(cfg.trainer, logger=False))
    with pytest.raises(ValueError, match=r"SLURM_NTASKS\) has 2 processes, but trainer.devices x trainer.num_nodes is 8"):
        checked_placement("train", cfg)  # before anything is loaded


def text_of_submitit(command: list[str], *, num_jobs: int, folder: Path) -> str:
    """What Hydra's launcher hands to sbatch, which is a fake that keeps a copy of it and refuses."""
    for name in ("srun", "sbatch"):
        (folder / name).write_text(SBATCH, encoding="utf-8")
        (folder / name).chmod(0o755)
    cfg = composed(command)
    launcher = Plugins.instance().instantiate_launcher(config=cfg, hydra_context=None, task_function=print)
    with pytest.raises(Exception, match="no such partition"):
        launcher.launch([[f"seed={seed}"] for seed in range(num_jobs)], initial_job_idx=0)
    return (folder / "copy").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_dry_run_prints_what_submitit_would_hand_to_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds on 2 nodes with 8 GPUs each."""
    typed = ("study=dry", "experiment=smoke", "seed=range(3)", "hydra.launcher.account=us")
    settings = {"GPUS": "8", "NODES": "2", "CPUS": "6", "PARTITION": "gpu"}
    python = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "DRY_RUN": "1"}
    dry = subprocess.run(
        [str(ROOT / "launchers" / "slurm.sh"), *typed],
        cwd=tmp_path,
        env=environment(**settings) | python,
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, dry.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COPY", str(tmp_path / "copy"))
    command = words("slurm.sh", *(word for word in typed if word != "seed=range(3)"), folder=tmp_path, **settings)
    written = text_of_submitit(command, num_jobs=3, folder=tmp_path)
    text, _, runs = dry.stdout.partition("# run 0: ")
    assert text.rstrip("\n") == written.rstrip("\n")
    assert "\n# run 1: trainer.devices=8 trainer.num_nodes=2 study=dry experiment=smoke seed=1\n" in runs
    lines = written.splitlines()
    asked = ("nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=6", "partition=gpu", "account=us", "array=0-2%3")
    assert {f"#SBATCH --{option}" for option in asked} <= set(lines)
    (srun,) = (line for line in lines if line.startswith("srun "))
    assert " --kill-on-bad-exit=1 --cpus-per-task=6 " in srun
