# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first if it is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint soak coverage docs accuracy clean
.DEFAULT_GOAL := demo

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,video]"
	touch $@

demo: $(VENV)/.ready            ## simulate a movie, analyse it, grade the result against the truth
	$(BIN)/insitu demo -o demo --overwrite

lint: $(VENV)/.ready            ## style, types, layers, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py
	$(BIN)/python -m tools.tables --check

test: lint                      ## everything that CI checks
	$(BIN)/python -m pytest -m "not slow"

soak: $(VENV)/.ready            ## the long proofs, an hour: slow tests, kills, power cuts, full disks, damaged files, 100 000 frames, fuzzing
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[soak]"
	$(BIN)/python -m benchmarks.soak

coverage: $(VENV)/.ready        ## branch coverage of the store, the loop and the readers, entered into docs/reliability.md
	$(BIN)/python -m benchmarks.soak coverage

docs: $(VENV)/.ready            ## the documentation site: docs/_build/html/index.html; a warning is an error
	$(BIN)/python -m tools.tables
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/trees docs docs/_build/html

accuracy: $(VENV)/.ready        ## measure again what docs/accuracy.md says
	$(BIN)/python -m benchmarks.accuracy

clean:
	rm -rf $(VENV) demo docs/_build docs/reference/generated
