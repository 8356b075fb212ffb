#!/usr/bin/env bash
# Each run of a study is one job of a SLURM array (submitit); the command waits for them and the same command goes on
# where they stopped. Type it on the login node, in a folder that the nodes see too.
#   .venv/bin/python -m pip install -c constraints.txt -e '.[slurm]'        once
#   PARTITION=gpu GPUS=1 launchers/slurm.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
#   PARTITION=gpu GPUS=8 NODES=2 DRY_RUN=1 launchers/slurm.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
# GPUS and NODES: GPUs of a node and nodes of each run, which then has a task for each GPU. Without GPUS: one task of each
# node, on the CPU. CPUS: cores of a task. MINUTES: time limit of a job; a run that needs more goes on in the next one, by
# itself. NOTICE: seconds before its limit when a job is told to write a checkpoint: 600, or a quarter of a short limit; a
# step must fit in. REQUEUE=0: a job that is preempted, whose node fails or whose time is over is reported and not started
# again. DRY_RUN=1 prints what sbatch would get, and stops.
# Other options of sbatch: hydra.launcher.account=NAME, hydra.launcher.qos=NAME, hydra.launcher.mem_gb=64. A job that
# was killed is noticed only where SLURM keeps accounts (sacct); elsewhere the command waits for ever: stop it and type it
# again. docs/clusters.md has more.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
gpus=${GPUS:-0} nodes=${NODES:-1} minutes=${MINUTES:-1440}
tasks=$((gpus > 0 ? gpus : 1))
per_node=$gpus
if ((gpus == 0)); then
  per_node=null
  set -- trainer.accelerator=cpu "$@"
fi
# To srun: one task that fails ends the others; and it does not take the cores of a task from sbatch (since SLURM 22.05).
set -- -m hydra/launcher=submitit_slurm \
  hydra.launcher.partition="${PARTITION:-null}" \
  hydra.launcher.nodes="$nodes" \
  hydra.launcher.tasks_per_node="$tasks" \
  hydra.launcher.gpus_per_node="$per_node" \
  hydra.launcher.cpus_per_task="${CPUS:-8}" \
  hydra.launcher.timeout_min="$minutes" \
  "+hydra.launcher.srun_args=['--kill-on-bad-exit=1','--cpus-per-task=\${hydra.launcher.cpus_per_task}']" \
  trainer.devices="$tasks" trainer.num_nodes="$nodes" "$@"
# To sbatch, which takes these variables before what its file says.
export SBATCH_SIGNAL=${SUBMITIT_PREEMPT_SIGNAL:-USR2}@${NOTICE:-$((minutes < 40 ? minutes * 15 : 600))}
if [[ ${REQUEUE:-1} == 1 ]]; then export SBATCH_REQUEUE=1; else export SBATCH_NO_REQUEUE=1; fi
if [[ ${DRY_RUN:-0} == 1 ]]; then exec "$PYTHON" -m vlm_rl.commands.slurm_dry_run "$@"; fi
exec "$PYTHON" train.py "$@"
