"""Jobs of a sweep whose process is gone: killed by SLURM, with its node, or by itself.

Hydra's launchers raise the error of the first such job and forget the others. Here each of them is a failed job like any other, so that
the others run to their end and the command names all of them.
"""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra.core.utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from vlm_rl.run_folder import RunFolder

ALIVE = (
    "PENDING,CONFIGURING,RUNNING,SUSPENDED,STOPPED,RESIZING,REQUEUED,REQUEUE_HOLD"  # states of a job that may still end well
)
SIZE_OF_STORE = "object_store_memory"
AGAIN = "The same command goes on from the last checkpoint."


class LostJobs(Callback):
    """Prepares the launcher of a sweep, before it starts jobs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        launcher = str(config.hydra.launcher._target_).rpartition(".")[2]
        prepared = {"SlurmLauncher": _of_slurm, "RayLauncher": _of_ray, "JoblibLauncher": _of_joblib}.get(launcher)
        if prepared is not None:
            prepared()


def lost(config: DictConfig, why: str) -> JobReturn:
    """What a job of this config gives back instead of its result."""
    return _returned(config, _folder_of(config), status=JobStatus.FAILED, value=RuntimeError(why))


def _returned(config: DictConfig, folder: Path, *, status: JobStatus, value: object) -> JobReturn:
    named = OmegaConf.create({"hydra": {"job": {"num": config.hydra.job.num}, "runtime": {"output_dir": str(folder)}}})
    job = hydra.core.utils.JobReturn(  # looked up now: errors.py has put a class of its own there
        overrides=list(config.hydra.overrides.task), hydra_cfg=named, status=status
    )
    job.return_value = value
    return job


def _folder_of(config: DictConfig) -> Path:
    """The run folder of a job, which only its own config can tell."""
    running = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        return Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute()
    finally:
        HydraConfig.instance().cfg = running


def _config_of(launcher: Any, overrides: Sequence[str], number: int) -> DictConfig:
    config: DictConfig = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    OmegaConf.update(config, "hydra.job.num", number, force_add=True)
    return config


def _of_slurm() -> None:
    from submitit.core.utils import UncompletedJobError
    from submitit.slurm.slurm import SlurmJob

    whole: Callable[[Any], list[JobReturn]] = SlurmJob.results

    def results(job: Any) -> list[JobReturn]:
        while True:
            try:
                ranks = whole(job)
            except UncompletedJobError:
                if not _is_alive(job.job_id):
                    submission = job.submission()
                    overrides, _, number, *_ = submission.args
                    return [lost(_config_of(submission.function, overrides, number), _why_of_slurm(job))]
                job.watcher._finished.discard(job.job_id)  # it was requeued between two looks
            else:
                return [*(rank for rank in ranks if rank.status == JobStatus.FAILED), *ranks]

    SlurmJob.results = results  # type: ignore[method-assign, assignment]


def _is_alive(job: str) -> bool:
    asked = ["squeue", "--noheader", f"--jobs={job}", f"--states={ALIVE}", "--format=%T"]
    return bool(subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip())


def _why_of_slurm(job: Any) -> str:
    asked = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job.job_id}", "--format=State,ExitCode,NodeList"]
    state, code, node = (
        *subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().split("|"),
        "?",
        "?",
    )[:3]
    ended = f"its job {job.job_id} of SLURM ended as {state or job.state} on {node}, exit code {code}"
    lines = [line for line in (job.stderr() or "").splitlines() if line.strip()]
    telling = [line for line in lines if "rror:" in line] or lines
    said = f" ({' '.join(telling[-1].split())[:300]})" if telling else ""
    return f"{ended}{said}. Its output: {job.paths.stderr}. {AGAIN}"


def _of_ray() -> None:
    import ray
    from hydra_plugins.hydra_ray_launcher import _core, _launcher_util

    start, launch, configs = _core.start_ray, _core.launch_job_on_ray, {}
    _launcher_util._run_job = _here(_launcher_util._run_job)

    def started(init: DictConfig) -> None:
        """Without the size of Ray's object store, which the launcher sets and a cluster that is up refuses."""
        is_up = init.get("address") not in (None, "local") or "RAY_ADDRESS" in os.environ
        start(OmegaConf.masked_copy(init, [str(name) for name in init if name != SIZE_OF_STORE]) if is_up else init)

    def launched(context: Any, remote: Any, config: DictConfig, *more: Any) -> Any:
        run = launch(context, remote, config, *more)
        configs[run] = config
        return run

    def result(run: Any) -> JobReturn:
        try:
            job: JobReturn = ray.get(run)
        except ray.exceptions.RayError as error:
            return lost(configs[run], f"{' '.join(str(error).split())[:300]} {AGAIN}")
        return job

    _core.start_ray, _core.launch_job_on_ray, _core.ray = started, launched, SimpleNamespace(get=result)


def _here(run: Callable[..., JobReturn]) -> Callable[..., JobReturn]:
    """A job of Ray in the folder and with the variables of the command: a worker has those of `ray start`."""
    folder = os.getcwd()
    variables = {name: value for name, value in os.environ.items() if name.startswith("VLM_RL_")}

    def run_here(**job: Any) -> JobReturn:
        os.chdir(folder)
        os.environ.update(variables)
        return run(**job)

    return run_here


def _of_joblib() -> None:
    from hydra_plugins.hydra_joblib_launcher import _core
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    whole = _core.launch

    def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        try:
            return whole(launcher, job_overrides, initial_job_idx)  # type: ignore[no-any-return]
        except TerminatedWorkerError as error:
            codes = ", ".join(sorted({*re.findall(r"[A-Z]+\(-?\d+\)", str(error))}))
            why = f"a process of this sweep was killed, with which joblib ends all others ({codes}). {AGAIN}"
            configs = [_config_of(launcher, words, initial_job_idx + place) for place, words in enumerate(job_overrides)]
            return [_finished(config) or lost(config, why) for config in configs]

    _core.launch = launch


def _finished(config: DictConfig) -> JobReturn | None:
    """What a job gives back whose run is finished, None of any other."""
    manifest = RunFolder(path=(folder := _folder_of(config))).manifest
    is_finished = manifest is not None and manifest["status"] == "finished"
    return _returned(config, folder, status=JobStatus.COMPLETED, value=None) if is_finished else None
