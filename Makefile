# One list of commands: the same here, in continuous integration and before a commit.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo-out

.PHONY: help setup demo test test-quick lint format docs bench clean

help:            ## List the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## Make the environment.

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)   ## Simulate a cohort and a second site, run everything, print the report's path.
	$(BIN)/angioshare demo $(DEMO)

test: $(READY)   ## Run all tests and doctests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-quick: $(READY)  ## Run all tests but the slow ones.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

lint: $(READY)   ## Format check, lint, types, layers.
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code.
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

docs: $(READY)   ## Check links, anchors, sections and commands of the documentation.
	$(BIN)/python -m pytest tests/house -k 'docs or readme'

bench: $(READY)  ## Run the benchmarks; each prints ratios.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for script in startup simulate heap private_step generator iteration noise ledger similarity surface unet precision denormals inference fidelity embedding; do $(BIN)/python benchmarks/$$script.py; done

clean:           ## Remove the environment and the demo.
	rm -rf $(VENV) $(DEMO)
