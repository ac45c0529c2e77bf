# `make help` lists the targets. PYTHON names the interpreter that .venv is made from (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults bench check fmt requirements clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: .venv/ready ## Create .venv from the hash-pinned requirements

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Tenantry needs Python 3.11 or newer; set PYTHON=")'
	@echo "installing the pinned requirements into .venv (about a minute)"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run everything on this machine and watch tenants become Applications (ONCE=1: once, then tear down)
	@exec $(BIN)/python -m tests.demo

test: setup ## Run every tier of the tests on real parts (builds the control plane first)
	$(BIN)/python -m tests.support.binaries
	$(BIN)/pytest --durations=15 $(ARGS)

SCALE ?= 1
faults: setup ## Run every family of fault cases, resumed where a run was ended (SCALE=0.1: a tenth; ARGS=C1: one family)
	$(BIN)/python -m tests.faults --scale $(SCALE) $(ARGS)

bench: setup ## Measure the operator beside its peers, some twenty minutes (ARGS=scale: 10,000 Tenants)
	$(BIN)/python -m tests.bench $(ARGS)

check: setup ## Lint, type-check, check the import layers and that the requirements are up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@for extra in operator generator dev; do cp requirements/$$extra.txt .venv/$$extra.txt; done
	@$(MAKE) --no-print-directory requirements OUT=.venv
	@for extra in operator generator dev; do diff requirements/$$extra.txt .venv/$$extra.txt || { echo "requirements/$$extra.txt is behind pyproject.toml: run make requirements"; exit 1; }; done

fmt: setup ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

OUT ?= requirements
requirements: ## Bring requirements/*.txt up to date with pyproject.toml
	$(COMPILE) --extra operator --output-file $(OUT)/operator.txt
	$(COMPILE) --extra generator --output-file $(OUT)/generator.txt
	$(COMPILE) --all-extras --group dev --output-file $(OUT)/dev.txt

clean: ## Remove .venv and caches of the checkout (the control plane's cache stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
