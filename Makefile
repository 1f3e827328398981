# Two commands matter: `make demo` and `make test`. Each creates its own virtual environment and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The dependency groups of pyproject.toml that are installed for tests. `make test TORCH=` leaves torch out: its
# tests are reported as skipped. So are tests whose group is removed from GROUPS.
TORCH ?= torch
GROUPS ?= dev cloud docs integrations ingest ray serve $(TORCH)
# Processes that run the tests, at most four: each loads torch.
JOBS ?= auto
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal
# The default encoder, and the one of many languages.
MINI := ./models/serotine-mini
MULTI := ./models/serotine-multi
# The C++ core and the Python package are rebuilt when any of these change.
SOURCES := pyproject.toml $(wildcard $(MINI)/pyproject.toml $(MINI)/serotine_mini/model/* $(MULTI)/pyproject.toml $(MULTI)/serotine_multi/model/*) $(shell find native -name '*.cpp' -o -name '*.hpp' -o -name CMakeLists.txt)

.PHONY: demo demo-multilingual test test-all lint types fix clean

demo: $(VENV)/.demo
	$(BIN)/python examples/cranfield_demo.py

demo-multilingual: $(VENV)/.demo
	rm -rf $(MULTI)/build
	$(BIN)/python -m pip install --quiet $(MULTI)
	$(BIN)/python examples/languages_demo.py

# In less than 25 minutes on two cores; what is longer is marked slow.
test: lint types
	$(PYTEST)

# Every test, as every night.
test-all: lint types
	$(PYTEST) -m ''

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Attacks on indexes for MINUTES, from SEED; prints what came of them, and fails on what nothing explains. With RECORD=1,
# the results become those that docs/reliability.md shows.
.PHONY: torture
torture: $(VENV)/.dev
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),20) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--json tests/torture/results.json)
	$(if $(RECORD),$(BIN)/python -m tests.torture.table)

# A wheel built from a clean sdist, audited, installed where there is no compiler, and used. Linux only.
.PHONY: wheel
wheel: $(BIN)/python
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group release
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python release/check_wheel.py

.PHONY: hf-kernels
hf-kernels: $(VENV)/.demo
	$(BIN)/python -m serotine.integrations.hf_kernels dist/hf-kernels

# The documentation as a site that needs no network, in site/: open site/index.html. A broken link fails the build.
.PHONY: docs
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

clean:
	rm -rf $(VENV) build dist cache site

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Serotine needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

# setuptools puts files of earlier versions, left in build/, into a new wheel.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	rm -rf $(MINI)/build
	$(BIN)/python -m pip install --quiet $(MINI) --editable '.[eval]'
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group docs 'serotine[serve]'
	touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	rm -rf $(MINI)/build $(MULTI)/build
	$(BIN)/python -m pip install --quiet $(addprefix --group ,$(GROUPS)) $(MINI) $(MULTI) --editable '.[eval]'
	$(if $(TORCH),$(BIN)/python -m pip install --quiet --no-deps --group test-data)
	touch $@ $(VENV)/.demo
