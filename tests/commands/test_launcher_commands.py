"""The command that each launcher composes from its settings, word for word; what the user typed comes last and wins."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from launcher_scripts import launched, words

from vlm_rl.commands import resolvers
from vlm_rl.commands.paths import CONF_DIR

SRUN = "+hydra.launcher.srun_args=['--kill-on-bad-exit=1','--cpus-per-task=${hydra.launcher.cpus_per_task}']"


def slurm(partition: str, *, nodes: int, tasks: int, gpus: str, cpus: int, minutes: int) -> list[str]:
    return [
        "-m",
        "hydra/launcher=submitit_slurm",
        f"hydra.launcher.partition={partition}",
        f"hydra.launcher.nodes={nodes}",
        f"hydra.launcher.tasks_per_node={tasks}",
        f"hydra.launcher.gpus_per_node={gpus}",
        f"hydra.launcher.cpus_per_task={cpus}",
        f"hydra.launcher.timeout_min={minutes}",
        SRUN,
        f"trainer.devices={tasks}",
        f"trainer.num_nodes={nodes}",
    ]


def test_slurm_gives_a_run_a_task_for_each_gpu_of_each_node(tmp_path: Path) -> None:
    composed = words("slurm.sh", "study=a", folder=tmp_path, GPUS="8", NODES="2", CPUS="6", MINUTES="90", PARTITION="gpu")
    assert composed == ["train.py", *slurm("gpu", nodes=2, tasks=8, gpus="8", cpus=6, minutes=90), "study=a"]


def test_slurm_gives_a_run_of_one_gpu_one_task(tmp_path: Path) -> None:
    composed = words("slurm.sh", folder=tmp_path, GPUS="1")
    assert composed == ["train.py", *slurm("null", nodes=1, tasks=1, gpus="1", cpus=8, minutes=1440)]


@pytest.mark.parametrize("settings", [{}, {"GPUS": "0"}], ids=["unset", "none"])
def test_slurm_without_gpus_is_one_task_on_the_cpu(settings: dict[str, str], tmp_path: Path) -> None:
    composed = words("slurm.sh", "seeds=paper", folder=tmp_path, **settings)
    shared = slurm("null", nodes=1, tasks=1, gpus="null", cpus=8, minutes=1440)
    assert composed == ["train.py", *shared, "trainer.accelerator=cpu", "seeds=paper"]


def test_slurm_that_is_dry_gets_the_same_words(tmp_path: Path) -> None:
    composed = words("slurm.sh", "study=a", folder=tmp_path, GPUS="2", DRY_RUN="1")
    assert composed[:2] == ["-m", "vlm_rl.commands.slurm_dry_run"]
    assert composed[2:] == words("slurm.sh", "study=a", folder=tmp_path, GPUS="2")[1:]


def test_what_the_user_typed_wins(tmp_path: Path) -> None:
    typed = ("hydra.launcher.tasks_per_node=4", "trainer.devices=4", "hydra.launcher.cpus_per_task=3")
    _, _, *overrides = words("slurm.sh", *typed, folder=tmp_path, GPUS="8", NODES="2")
    resolvers.register()
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
    launcher = cfg.hydra.launcher
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (2, 4, 8)
    assert (cfg.trainer.devices, cfg.trainer.num_nodes) == (4, 2)
    assert list(launcher.srun_args) == ["--kill-on-bad-exit=1", "--cpus-per-task=3"]


def this_machine(jobs: int, *rest: str) -> list[str]:
    return ["train.py", "-m", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}", "num_threads=1", *rest]


def on_gpus(count: int) -> tuple[str, str]:
    return f"trainer.devices={count}", f"++hydra.job.env_set.CUDA_VISIBLE_DEVICES=${{own_gpus:{count}}}"


@pytest.mark.parametrize(
    ("settings", "jobs", "gpus"),
    [
        ({}, 4, 1),
        ({"GPUS": "2"}, 2, 2),
        ({"GPUS": "3"}, 1, 3),
        ({"JOBS": "3"}, 3, 1),
        ({"JOBS": "1", "GPUS": "4"}, 1, 4),
    ],
)
def test_this_machine_runs_as_many_jobs_as_it_has_gpus_for(
    settings: dict[str, str], jobs: int, gpus: int, tmp_path: Path
) -> None:
    done = launched("this_machine.sh", "study=a", "seeds=paper", folder=tmp_path, visible="0,1,GPU-7f,3", **settings)
    inherited, *composed = done.stdout.splitlines()
    assert composed == this_machine(jobs, *on_gpus(gpus), "study=a", "seeds=paper")
    assert inherited == "0,1,GPU-7f,3"  # the jobs ask nobody else


@pytest.mark.parametrize(("settings", "jobs"), [({}, 2), ({"JOBS": "5"}, 5)])
def test_this_machine_without_gpus_sets_nothing(settings: dict[str, str], jobs: int, tmp_path: Path) -> None:
    done = launched("this_machine.sh", "study=a", folder=tmp_path, **settings)
    assert done.stdout.splitlines() == ["unset", *this_machine(jobs, "study=a")]


def test_this_machine_keeps_off_the_gpus_when_told_so(tmp_path: Path) -> None:
    done = launched("this_machine.sh", "study=a", folder=tmp_path, visible="0,1", GPUS="0")
    assert done.stdout.splitlines() == ["", *this_machine(2, "study=a")]


@pytest.mark.parametrize(
    ("settings", "visible", "told"),
    [
        ({"JOBS": "3"}, "0,1", "JOBS=3 runs with GPUS=1 each need 3 GPUs; 2 are visible here"),
        ({"GPUS": "2"}, "", "JOBS=1 runs with GPUS=2 each need 2 GPUs; 0 are visible here"),
    ],
)
def test_this_machine_refuses_more_than_it_has(settings: dict[str, str], visible: str, told: str, tmp_path: Path) -> None:
    done = launched("this_machine.sh", folder=tmp_path, visible=visible, **settings)
    assert done.returncode == 2 and not done.stdout
    assert told in done.stderr and "Make JOBS or GPUS smaller" in done.stderr


def ray(address: str, cpus: int, gpus: int, *rest: str) -> list[str]:
    return [
        "train.py",
        "-m",
        "hydra/launcher=ray",
        f"hydra.launcher.ray.init.address={address}",
        f"++hydra.launcher.ray.remote.num_cpus={cpus}",
        f"++hydra.launcher.ray.remote.num_gpus={gpus}",
        *rest,
    ]


@pytest.mark.parametrize(
    ("settings", "visible", "composed"),
    [
        ({}, "", ray("null", 1, 0, "study=a")),
        ({}, "0,1", ray("null", 1, 1, "trainer.devices=1", "study=a")),
        ({"GPUS": "0"}, "0,1", ray("null", 1, 0, "study=a")),
        ({"GPUS": "4", "CPUS": "16", "ADDRESS": "auto"}, "", ray("auto", 16, 4, "trainer.devices=4", "study=a")),
    ],
    ids=["no GPU", "GPUs here", "GPUs not wanted", "a cluster"],
)
def test_ray_gives_a_run_its_gpus(settings: dict[str, str], visible: str, composed: list[str], tmp_path: Path) -> None:
    assert words("ray.sh", "study=a", folder=tmp_path, visible=visible, **settings) == composed
