# make help says what there is. Everything happens in .venv; delete it to begin anew.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow chaos emulators bench check venv clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(READY) ## Segment the bundled 2D and 3D images, and show the result in demo/index.html
	$(BIN)/bigseg demo demo

test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY) ## Run what takes minutes: large mosaics, every development data set
	$(BIN)/python -m pytest -m slow

chaos: $(READY) ## Kill everything, 200 times, at random moments; CHAOS="--seed 7" for the same again
	$(BIN)/python -m tests.chaos.chaos $(CHAOS)
	$(BIN)/python -m pytest tests/chaos tests/contracts/test_faults.py

emulators: ## Install Azurite, with which the tests speak to Azure; needs npm
	npm install --silent --no-audit --no-fund --prefix .emulators azurite@3

bench: $(READY) ## Compare with Cellpose: engine functions, then end to end (an hour)
	$(BIN)/python benchmarks/dynamics.py
	$(BIN)/python benchmarks/end_to_end.py

check: $(READY) ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: $(READY) ## Make .venv and install bigseg with its tools into it

clean: ## Delete the demo and what tools keep between runs; .venv stays
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find bigseg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs again only when what is needed has changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bigseg needs \
	Python 3.11 or newer, and $(PYTHON) is older or missing; say which, as make PYTHON=python3.12 \
	venv."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make virtual \
	environments; on Debian and Ubuntu, apt-get install python3-venv."; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@
