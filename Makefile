# The commands of this project. `make demo` and `make test` need Python 3.11 or 3.12 and nothing else set up.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test test-fast test-all test-slurm lint format lock lock-gpu clean

VENV := .venv
PYTHON := $(VENV)/bin/python

# What `make demo` runs; any of them can be given: make demo PACK=prime_inversion RUN=runs/mine
# Without PACK and RUN the experiment says which pack and directory: python_code and runs/code for cpu_code.
PACK ?=
EXPERIMENT ?= demo
RUN ?=

LOCKS := requirements/cpu.lock requirements/dev.lock

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

env: $(VENV)/installed  ## Make .venv with the locked packages and this project

# The stamp is written last, so an install that was cut short is done again, and a changed lock is installed.
$(VENV)/installed: $(LOCKS) setup.py requirements/install.sh
	@bash requirements/install.sh $(VENV) $(LOCKS)

demo: env  ## Run the demo: self-play of a tiny model on this machine's CPU
	$(PYTHON) -m recipe.main_azr experiment=$(EXPERIMENT)$(if $(PACK), pack=$(PACK))$(if $(RUN), run.dir=$(RUN))

# Which tests are in which: docs/testing.md. Two processes each; a start of the stack is mostly imports on one core.
FAST := -n 2 --dist worksteal
STARTS := -n 2 --dist loadfile

test: env  ## Run the fast tests, then three starts of the real stack
	$(PYTHON) -m pytest $(FAST) -m "not e2e and not slow"
	$(PYTHON) -m pytest $(STARTS) -m "e2e and not slow" tests/e2e

test-fast: env  ## Run the tests that start neither Ray nor vLLM
	$(PYTHON) -m pytest $(FAST) -m "not e2e and not slow"

test-all: env  ## Run the rest, but for Slurm
	$(PYTHON) -m pytest $(FAST) -m "slow and not slurm" --ignore tests/e2e
	$(PYTHON) -m pytest $(STARTS) -m slow tests/e2e --ignore tests/e2e/test_two_nodes.py
	$(PYTHON) -m pytest -m slow tests/e2e/test_two_nodes.py

test-slurm: env  ## Run a job on a Slurm of its own (apt-get install slurm-wlm munge; minutes)
	$(PYTHON) -m pytest -m slurm tests/launch

lint: env  ## Check style, formatting and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: env  ## Let ruff rewrite what `make lint` complains of and ruff can mend
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: build/lock  ## Resolve setup.py anew and rewrite the locks for the CPU
	build/lock/bin/python requirements/lock.py cpu

lock-gpu: build/lock  ## Resolve setup.py anew and rewrite the lock for GPUs (downloads no GPU package)
	build/lock/bin/python requirements/lock.py gpu

# With the newest pip: older ones download every package, GPU packages too, to learn what it needs.
build/lock: $(VENV)/installed
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install -qq --upgrade pip

clean:  ## Remove .venv and the tools' caches; keeps runs/
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
