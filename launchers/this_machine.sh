#!/usr/bin/env bash
# The runs of a study side by side on this machine (joblib), one CPU thread each.
#   launchers/this_machine.sh study=first algorithm=reinforce_pp,sft seeds=paper
#   CUDA_VISIBLE_DEVICES=0,1,2 launchers/this_machine.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
# GPUS: GPUs of each run, which no other run has meanwhile; 1 where there are any, 0 for the CPU. JOBS: how many runs at a
# time; as many as there are GPUs for, or 2 without GPUs.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
visible=$("$PYTHON" -m vlm_rl.commands.own_gpus)
IFS=, read -ra names <<<"$visible"
count=${#names[@]}
gpus=${GPUS:-$((count > 0))}
if ((gpus > 0)); then
  jobs=${JOBS:-$((count < gpus ? 1 : count / gpus))}
  if ((jobs * gpus > count)); then
    echo "JOBS=$jobs runs with GPUS=$gpus each need $((jobs * gpus)) GPUs; $count are visible here. Make JOBS or GPUS smaller." >&2
    exit 2
  fi
  export CUDA_VISIBLE_DEVICES=$visible
  set -- trainer.devices="$gpus" "++hydra.job.env_set.CUDA_VISIBLE_DEVICES=\${own_gpus:$gpus}" "$@"
elif ((count > 0)); then
  export CUDA_VISIBLE_DEVICES=
fi
exec "$PYTHON" train.py -m hydra/launcher=joblib hydra.launcher.n_jobs="${jobs:-${JOBS:-2}}" num_threads=1 "$@"
