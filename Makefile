# Everything a newcomer or a maintainer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 5
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

help: ## what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "winback needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 2; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

dev: $(READY) ## set up the development environment in .venv

demo: $(READY) ## the whole main job on a local look-alike of HubSpot, or CRM=salesforce; nothing to set up
	@$(BIN)/winback demo $(if $(CRM),--crm $(CRM)) $(ARGS)

test: $(READY) ## the test suite, with linters and type checks
	@$(MAKE) --no-print-directory -j2 lint compiled
	@$(BIN)/python -m pytest -n $(WORKERS) --dist load -m "not soak" $(ARGS)

lint: $(READY)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log

# The tests' bytecode, made while the linters use the other core: else every worker makes all of it for itself.
compiled: $(READY)
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true

check: test ## what CI runs

fix: $(READY) ## format, and mend what a linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

soak: $(READY) ## slow endurance runs: more kills, more examples
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: $(READY) ## side-by-side measurements, as ratios (docs/benchmarks.md)
	@$(BIN)/python -m benchmarks.all $(ARGS)

docs: $(READY) ## regenerate the parts of docs/ that follow from the code
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m deploy.salesforce.generate

build: $(READY) ## the wheel and the source archive in dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@ls dist

lock: ## compile the lock files anew from pyproject.toml
	@for pair in "requirements.lock --all-extras" "requirements-dev.lock --extra=postgres --extra=oidc --group=dev"; do \
		set -- $$pair; file=$$1; shift; \
		$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			--no-emit-index-url --no-emit-find-links "$$@" -o $$file pyproject.toml || exit 1; \
	done

clean: ## forget everything that was built or installed here
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis winback-demo

.PHONY: help dev demo test lint check fix soak bench docs build lock clean compiled
