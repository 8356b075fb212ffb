"""`python train.py`: what was typed becomes a config, and that a run. Torch and the libraries on it are imported for a run only.

They take seconds. A typo, `--help` and `--cfg job` are answered before; the process that hands out the runs of a study needs none of them.
"""

import os
import sys
from contextlib import nullcontext

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vlm_rl.commands import errors, leaving, preflight_jobs, resolvers, slurm_job, swept_groups
from vlm_rl.commands.job_log import is_of_local_sweep, logged
from vlm_rl.commands.known_warnings import silence_joblib
from vlm_rl.commands.many_imports import without_collections
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.run_folder import RunFolder


def main() -> None:
    """The console command."""
    resolvers.register()
    sys.argv[1:] = preflight_jobs.spelled_out(sys.argv[1:])
    os.environ.setdefault(errors.TYPED, errors.as_typed())  # before words are rewritten
    os.environ.setdefault(leaving.TYPED_BY, str(os.getpid()))
    silence_joblib()
    sys.argv[1:] = swept_groups.left_to_jobs(sys.argv[1:])
    errors.explained(_preflight if preflight_jobs.is_asked(sys.argv[1:]) else _main)


@hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="train")
def _main(cfg: DictConfig) -> None:
    leaving.listen(leaving.stop_at_once)
    slurm_job.listen()
    folder = RunFolder(path=HydraConfig.get().runtime.output_dir)
    with leaving.job_of_the_typed() if is_of_local_sweep() else nullcontext(), logged(folder):
        with without_collections():
            from vlm_rl.commands.training import train  # with torch

        train(cfg, folder=folder)


def _preflight() -> None:
    with without_collections():
        from vlm_rl.commands import preflight  # with torch

    preflight.main()


if __name__ == "__main__":  # python -m; by its own name, so that a launcher's processes can import what they are sent
    from vlm_rl.commands import train as by_name

    by_name.main()
