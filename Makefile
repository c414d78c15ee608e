# Everything runs in .venv, which is made on first use from the pinned versions of constraints.txt.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

BIN := .venv/bin
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
UNFINISHED := .venv/.unfinished
# The tests run in three parts of about the same length; the third is all the rest.
PART_1 := $(filter-out tests/unit/test_p%,$(wildcard tests/unit/test_*.py))
PART_2 := $(wildcard tests/unit/test_p*.py tests/contract/test_*.py)

# A name may exist without a usable interpreter behind it (pyenv), so each candidate is run.
SUPPORTED := import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	if $$name -c '$(SUPPORTED)' >/dev/null 2>&1; then echo $$name; break; fi; done)

# $(1): what to install. An install that was cut off leaves its mark, and the next one starts afresh:
# pip would take a half-unpacked package for a whole one.
define install
	@if ! "$(PYTHON)" -c '$(SUPPORTED)' >/dev/null 2>&1; then \
		echo "Found no working Python 3.11, 3.12 or 3.13$(if $(PYTHON), as '$(PYTHON)'); install one," \
			"or say which: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi
	@if [ -e $(UNFINISHED) ]; then rm -rf .venv; fi
	@mkdir -p .venv && touch $(UNFINISHED)
	@$(PYTHON) -m venv .venv || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	}
	@echo "Installing $(1) into .venv; this takes some minutes the first time."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e "$(1)"
	@rm $(UNFINISHED)
endef

.PHONY: help
help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' \
		| while IFS=$$'\t' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

$(CORE): pyproject.toml constraints.txt
	$(call install,.[rf])
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(CORE) $@

.PHONY: demo
demo: $(CORE) ## Fit a measured slot antenna: 60 trials into campaigns.db, report in ring-slot.html
	$(BIN)/ax-jax run notebooks/ring-slot.toml --report ring-slot.html

.PHONY: setup
setup: $(DEV) ## Install everything that development needs into .venv

.PHONY: lint
lint: $(DEV) ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

.PHONY: test
test: $(DEV) ## Check everything and run the tests, except the slow ones
	@# Everything at once, for much of the time goes by in waiting for processes that are killed; what
	@# runs in the background is shown at its end. Without set -m a job in the background would not
	@# hear SIGINT, nor would the processes that it starts.
	@set -m; logs=$$(mktemp -d) status=0 parts=; \
	trap 'kill $$parts 2>/dev/null || true; rm -rf "$$logs"' EXIT; \
	$(MAKE) --no-print-directory lint >"$$logs/lint" 2>&1 & parts="$$!"; \
	$(BIN)/python -m pytest -m "not slow" $(PART_1) >"$$logs/part-1" 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest -m "not slow" $(PART_2) >"$$logs/part-2" 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest -m "not slow" $(addprefix --ignore=,$(PART_1) $(PART_2)) || status=$$?; \
	for part in $$parts; do wait $$part || status=$$?; done; \
	cat "$$logs"/*; exit $$status

.PHONY: test-all
test-all: lint ## Check everything and run all tests
	$(BIN)/python -m pytest

.PHONY: format
format: $(DEV) ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(DEV) ## Run the benchmarks and print their tables
	@for file in tests/benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

.PHONY: clean
clean: ## Remove the environment, caches and what the demo left
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf campaigns.db campaigns.db-shm campaigns.db-wal campaigns.artifacts ring-slot.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
