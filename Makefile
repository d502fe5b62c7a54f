# hippy: the commands people and CI run. `make` alone lists them.
# All they need is Python 3.11 or newer and a package index; .ci/venv makes .venv and keeps it whole.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak check format clean

help: ## List these commands
	@awk -F ': *## ' '/^[a-z]+: *## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile
	@echo "  PYTHON=/path/to/python picks the interpreter that makes .venv (make clean first to change it)."

demo: ## Start a local network, store real files, kill miners, get everything back
	@sh .ci/venv local
	@.venv/bin/hippy demo

test: ## Run the tests
	@sh .ci/venv dev
	.venv/bin/pytest -m "not slow" -n auto --dist loadfile

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
