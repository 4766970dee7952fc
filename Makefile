# The two commands of the README are `make run` and `make test`; the rest helps while working.

# The first interpreter that is new enough; PYTHON=/path/to/python overrides.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,\
	$(shell $(python) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(python))) python3)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SDL    := tams_gql/schema/schema.graphql

.PHONY: run test lint types unit soak conformance format schema clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@$(BIN)/tams-gql demo

test: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist loadfile

# What is proven by many repetitions: kills, contention, fuzzing; the whole GraphQL suite on an
# emulated cluster.
soak: $(VENV)/.installed-dev
	$(BIN)/pytest -m soak -n auto --dist loadfile

# The VAST SDK's own tests, of the installed package, against the emulator.
conformance: $(VENV)/.installed-dev
	$(BIN)/python scripts/vast_conformance.py --cache $(VENV)/vast-conformance

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.installed
	$(BIN)/tams-gql schema > $(VENV)/schema.graphql
	mv $(VENV)/schema.graphql $(SDL)

$(VENV)/bin/python:
	@$(PYTHON) -c '$(NEW_ENOUGH)' || \
	  { echo "tams_gql needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing pinned packages into $(VENV); the first time this takes about a minute."
	@# Python compiles what the server imports when it first does: a quarter of the wait is saved.
	@$(PIP) install --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@# The tests start hundreds of processes, which must not each compile every library.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
