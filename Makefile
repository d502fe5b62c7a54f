# hippy: the commands people and CI run. `make` alone lists them.
# All they need is Python 3.11 or newer and a package index; .ci/venv makes .venv and keeps it whole.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-postgres soak check format clean

help: ## List these commands
	@awk -F ': *## ' '/^[a-z-]+: *## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile
	@echo "  PYTHON=/path/to/python picks the interpreter that makes .venv (make clean first to change it)."

demo: ## Start a local network, store real files, kill miners, get everything back
	@sh .ci/venv local
	@.venv/bin/hippy demo

# Bytecode is written for the hundreds of processes that the tests start; longest files first: tests/conftest.py.
test: ## Run the tests
	@sh .ci/venv dev
	PYTHONDONTWRITEBYTECODE= .venv/bin/pytest -m "not slow and not postgres" -n auto --dist loadfile --no-loadscope-reorder

# PostgreSQL as distributions package it will do (on Debian: apt install postgresql): servers are made and thrown away.
# HIPPY_POSTGRES_URL names one to use instead. Without either the tests are skipped, and say why.
test-postgres: ## Run the tests of a registry on PostgreSQL
	@sh .ci/venv dev
	PYTHONDONTWRITEBYTECODE= .venv/bin/pytest -rs -m postgres -n auto --dist loadfile

soak: ## Run the tests that take minutes: weeks of a simulated network
	@sh .ci/venv dev
	.venv/bin/pytest -s -m slow

check: ## Lint, formatting, types and the direction of imports
	@sh .ci/venv dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: ## Format the code and fix what ruff can fix
	@sh .ci/venv dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean: ## Remove .venv, caches and build products
	rm -rf .venv build dist *.egg-info .*_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
