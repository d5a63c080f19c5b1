# Two commands set edgeseg up on a fresh Debian-like machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint lock clean

help:
	@echo "make demo    install into $(VENV) and watch a real clip with a real network"
	@echo "make test    install what the tests need and run them all"
	@echo "make lint    ruff and mypy alone"
	@echo "make lock    renew requirements/*.lock from pyproject.toml"
	@echo "make audit   look for known vulnerabilities in what the locks pin"

# A network that was downloaded before is taken from a mirror folder, so that the demo runs offline too.
ifneq ($(wildcard ../shared/data/models),)
export EDGESEG_MODEL_MIRROR ?= $(abspath ../shared/data/models)
endif

demo: $(VENV)/.demo-installed
	@$(BIN)/edgeseg demo

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --constraints requirements/constraints.txt --no-emit-index-url --no-annotate --no-header \
		--python-version 3.10 --extra litert --extra cli pyproject.toml -o requirements/demo.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --constraints requirements/constraints.txt --no-emit-index-url --no-annotate --no-header \
		--python-version 3.10 --extra litert --extra openvino --extra cli --extra test pyproject.toml -o requirements/test.lock

$(VENV)/bin/python:
	@tests/install_servers.sh venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: requirements/demo.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/demo.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.test-installed: requirements/test.lock pyproject.toml tests/install_servers.sh | $(VENV)/bin/python
	@tests/install_servers.sh test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Weights and code run with the rights of the daemon; so do the libraries that the locks name.
audit: $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python requirements/audit.py

clean:
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
