#!/usr/bin/env bash
# The runs of a study side by side on this machine (joblib), one CPU thread each. JOBS: how many at a time.
#   JOBS=3 launchers/this_machine.sh study=first algorithm=reinforce_pp,sft seeds=paper
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
exec "$PYTHON" train.py hydra/launcher=joblib hydra.launcher.n_jobs="${JOBS:-2}" num_threads=1 "$@" -m
