# Needs make and Python 3.11 or newer; everything else goes into $(VENV).
#
#   make ala2     the main job: alanine dipeptide, ten iterations, results in runs/ala2
#   make test     the fast tests          make test-slow   the others       make test-all   both
#   make lint     ruff and the floors     make types       mypy             make ci         what .ci/run runs
#   make coverage  the lines that all tests run, in build/coverage
#   make docs     the pages of docs/ in build/docs, the tutorial run anew; begin at build/docs/index.html
#   make test-torchforce   the engine contract with openmm-torch, in .venv-torchforce (7 GB)
#
# ARGS goes to the job or to pytest:  make ala2 ARGS="--seed 2 --ns 1"   make test ARGS="-k kernels"
# Tests run in two processes side by side:  make test JOBS=auto   as many as cores   JOBS=0   in one, for ARGS=--pdb

VENV ?= .venv
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(if $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo yes),$(name))))
TORCH ?= torch>=2.8,<2.14
EXTRAS ?= test
TORCHFORCE_VENV ?= .venv-torchforce
ARGS ?=
JOBS ?= 2

# Absolute, since the job may be started from another folder.
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.aecv-installed
DOCS_INSTALLED := $(VENV)/.aecv-docs-installed
# A file's tests stay together: what a module prepares is prepared once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# openmm-torch wants its own torch, so its environment is another one.
TORCHFORCE := VENV="$(TORCHFORCE_VENV)" TORCH="torch==2.9.1" EXTRAS="test,torchforce"

.PHONY: help venv venv-torchforce test-torchforce test-with-openmm-torch ala2 test test-slow test-all coverage lint format types ci benchmarks docs wheel clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

venv: $(INSTALLED)

# The stamp comes last: an interrupted installation is done again, a changed pyproject.toml too.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "aecv needs Python 3.11 or newer; none found, give one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[$(EXTRAS)]"
	@touch $@

ala2: $(INSTALLED)
	$(BIN)/python -m aecv.iterate --system ala2 --iters 10 $(ARGS)

test: $(INSTALLED)
	$(PYTEST) $(ARGS)

# pytest ends with 5 when no test carries the marker; that is no failure here.
test-slow: $(INSTALLED)
	$(PYTEST) -m slow --timeout=1200 $(ARGS) || [ $$? -eq 5 ]

test-all: $(INSTALLED)
	$(PYTEST) -m "slow or not slow" --timeout=1200 $(ARGS)

# Compiled kernels count as lines that nobody ran. Their cache is its own: numba compiles otherwise while lines are counted,
# and the last digits of a run that mixes both are those of neither.
coverage: $(INSTALLED)
	NUMBA_CACHE_DIR=$(abspath build/coverage-kernels) $(PYTEST) -m "slow or not slow" --timeout=1200 --cov --cov-report=term:skip-covered --cov-report=html:build/coverage $(ARGS)

venv-torchforce:
	$(MAKE) venv $(TORCHFORCE)

test-torchforce:
	$(MAKE) test-with-openmm-torch $(TORCHFORCE)

# The probe first: without it everything would be skipped, and pass.
test-with-openmm-torch: $(INSTALLED)
	$(BIN)/python -c 'from aecv.sampling.engines.choice import require_engine; require_engine("torchforce")'
	$(PYTEST) -m torchforce --timeout=1200 $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	$(BIN)/mypy

benchmarks: $(INSTALLED)
	$(BIN)/python -m benchmarks $(ARGS)

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[$(EXTRAS),docs]"
	@touch $@

# A warning is an error: links that lead nowhere, docstrings and formulas that cannot be read, a tutorial that fails.
docs: $(DOCS_INSTALLED)
	$(BIN)/python -m sphinx -b html -W --keep-going -E -q docs build/docs $(ARGS)
	@echo "built: build/docs/index.html"

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

ci: lint types test-slow test

clean:
	rm -rf $(VENV) $(TORCHFORCE_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find aecv tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
