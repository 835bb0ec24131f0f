# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first if it is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint soak docs clean
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

soak: $(VENV)/.ready            ## the long proofs: kills, full disks, memory over 20 000 frames
	$(BIN)/python -m pytest -m slow --timeout 3600 -rA
	$(BIN)/python -m benchmarks.soak

docs: $(VENV)/.ready            ## tables that are generated: docs/tables.md, docs/accuracy.md
	$(BIN)/python -m tools.tables
	$(BIN)/python -m benchmarks.accuracy

clean:
	rm -rf $(VENV) demo
