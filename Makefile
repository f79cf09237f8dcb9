# make train [ARGS="dataset=mnist model.depth=3"]   make test   make test-fast   make lint   make ui   make lock
SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin
ARGS  ?=

# The first interpreter that TensorFlow has wheels for; `make PYTHON=...` chooses another.
FIT    := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c '$(FIT)' 2>/dev/null && echo $$p && break; done)

# pip compiles what it installs to bytecode: without it TensorFlow takes 24 s to import instead of 5.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --compile

.PHONY: train test test-fast lint ui lock clean

train: $(VENV)/.installed
	@$(BIN)/hcr train $(ARGS)

ui: $(VENV)/.installed
	@$(BIN)/hcr ui $(ARGS)

# On all cores: each test has a folder, and servers have ports, of its own.
CORES  := $(shell getconf _NPROCESSORS_ONLN)
PYTEST := $(BIN)/python -m pytest -n $(CORES) --dist worksteal

test: $(VENV)/.installed-test
	$(PYTEST) $(ARGS)

test-fast: $(VENV)/.installed-test
	$(PYTEST) -m "not slow and not exhaustive" $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; name one with 'make PYTHON=...'"; exit 1; }
	@$(PYTHON) -c '$(FIT)' || { echo "make: $(PYTHON) is not Python 3.11, 3.12 or 3.13"; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked dependencies (TensorFlow among them: some minutes the first time)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-test: tests/requirements.lock $(VENV)/.installed
	@echo "installing the locked test tools"
	@$(PIP_INSTALL) --require-hashes -r tests/requirements.lock
	@touch $@

# Needs uv. `--universal` makes one file for 3.11 to 3.13 and every platform.
UV_COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet
lock:
	$(UV_COMPILE) -o requirements.lock
	$(UV_COMPILE) --extra test -c requirements.lock -o tests/requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache
