"""What `DRY_RUN=1 launchers/slurm.sh ...` prints: what sbatch would get, and the runs. All as ever, only not sent."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import filter_overrides

from vlm_rl.commands import train


def main() -> None:
    """`python -m vlm_rl.commands.slurm_dry_run`, with the words of a `train.py` that would send jobs to SLURM."""
    try:
        from submitit.slurm.slurm import SlurmExecutor
    except ModuleNotFoundError:
        sys.exit("Error: jobs for SLURM need an extra: python -m pip install -c constraints.txt -e '.[slurm]'")
    SlurmExecutor.affinity = classmethod(lambda executor: 1)  # type: ignore[method-assign, assignment]  # as if there were srun
    SlurmExecutor._internal_process_submissions = _print_submission  # type: ignore[method-assign, assignment]
    train.main()


def _print_submission(executor: Any, submissions: Sequence[Any]) -> list[Any]:
    """In place of writing the file and giving it to sbatch; several runs are one array."""
    if len(submissions) > 1:
        executor.parameters["map_count"] = len(submissions)
    print(executor._make_submission_file_text(executor._submitit_command_str, uid="none"))
    for submission in submissions:
        overrides, _, number, *_ = submission.args
        print(f"# run {number}: {' '.join(filter_overrides(overrides))}")
    for name, value in os.environ.items():
        if name.startswith("SBATCH_"):  # sbatch takes them before what the file says
            print(f"# {name}={value}")
    return []


if __name__ == "__main__":
    main()
