PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
EXTRAS := .venv/.extras
TESTS := $(BIN)/python -m pytest -n auto --dist loadgroup -m "not network"

.DEFAULT_GOAL := help
.PHONY: help demo demo-network test check docs format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(READY) ## set up, make three phantom hospitals, and run the whole way on them
	$(BIN)/python scripts/demo.py

demo-network: $(EXTRAS) ## a coordinator and three phantom hospitals over TLS on this machine
	$(BIN)/python scripts/demo_network.py

test: $(READY) ## set up and run the tests (those of the network by make check)
	$(TESTS)

check: $(EXTRAS) ## ruff, mypy, import layers, file sizes, docs, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_sizes.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(TESTS)
	$(BIN)/python -m pytest -m network tests/federation/engines/network

docs: $(EXTRAS) ## build the documentation into site/, without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(READY) ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove the environment, caches and the demo
	rm -rf .venv site demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,dev,dicom,privacy,dp]"
	touch $@

$(EXTRAS): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs,network]"
	touch $@
