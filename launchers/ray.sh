#!/usr/bin/env bash
# Each run of a study is one task of Ray: on this machine, or on a cluster that is up already (ADDRESS=auto).
#   .venv/bin/python -m pip install -e '.[ray]'        once; it brings older releases of urllib3 and python-dateutil
#   ADDRESS=auto GPUS=1 launchers/ray.sh study=geo experiment=geo_qwen2_5_vl_7b seeds=paper
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
exec "$PYTHON" train.py hydra/launcher=ray \
  hydra.launcher.ray.init.address="${ADDRESS:-null}" \
  ++hydra.launcher.ray.remote.num_cpus="${CPUS:-1}" \
  ++hydra.launcher.ray.remote.num_gpus="${GPUS:-0}" \
  "$@" -m
