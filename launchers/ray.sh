#!/usr/bin/env bash
# Each run of a study is one task of Ray: on this machine, or on a cluster that is up already (ADDRESS=auto).
#   .venv/bin/python -m pip install -e '.[ray]'        once; it brings older releases of urllib3 and python-dateutil
#   ADDRESS=auto GPUS=1 launchers/ray.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
# GPUS: GPUs of each run, all of one node; 1 where this machine has any, else 0. Ray hides every GPU from a run that asked
# for none, so that it trains on the CPU without a word: for a cluster, write GPUS yourself, as the machine where you type
# may have none. CPUS: cores of each run. Ray runs as many at a time as it has GPUs and cores for.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
if [[ -z ${GPUS:-} ]]; then
  visible=$("$PYTHON" -m vlm_rl.commands.own_gpus)
  GPUS=$((${#visible} > 0))
fi
if ((GPUS > 0)); then set -- trainer.devices="$GPUS" "$@"; fi
exec "$PYTHON" train.py -m hydra/launcher=ray \
  hydra.launcher.ray.init.address="${ADDRESS:-null}" \
  ++hydra.launcher.ray.remote.num_cpus="${CPUS:-1}" \
  ++hydra.launcher.ray.remote.num_gpus="$GPUS" \
  "$@"
