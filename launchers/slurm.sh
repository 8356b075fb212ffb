#!/usr/bin/env bash
# Each run of a study is one job of a SLURM array (submitit); the command waits for them and the same command goes on
# where they stopped. Type it on the login node, in a folder that the nodes see too.
#   .venv/bin/python -m pip install -c constraints.txt -e '.[slurm]'        once
#   PARTITION=gpu GPUS=1 launchers/slurm.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
# Other options of sbatch: hydra.launcher.account=NAME, hydra.launcher.qos=NAME. A run that a node's failure killed is
# noticed only where SLURM keeps accounts (sacct); elsewhere the command waits for ever: stop it and type it again.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
exec "$PYTHON" train.py hydra/launcher=submitit_slurm \
  hydra.launcher.partition="${PARTITION:-null}" \
  hydra.launcher.gpus_per_node="${GPUS:-null}" \
  hydra.launcher.cpus_per_task="${CPUS:-8}" \
  hydra.launcher.timeout_min="${MINUTES:-1440}" \
  "$@" -m
