# Two commands do everything: `make demo` and `make test`. Each sets up first what is missing.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.gta-installed

.PHONY: setup demo test check docs format bench fuzz constraints clean help

help:
	@echo "make demo    set up, then train, evaluate and explain on the built-in synthetic data set (minutes on 2 cores)"
	@echo "make test    set up, then run the tests"
	@echo "make check   ruff, basedpyright and import-linter"
	@echo "make docs    the documentation site, into docs/_build/html"
	@echo "make bench   every benchmark, as ratios in one run"
	@echo "make fuzz    4,000 damaged videos, 400 checkpoints and 200 indices through the readers"
	@echo "make format  fix what ruff can fix"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"gta needs Python 3.11 or later, $(PYTHON) is {v[0]}.{v[1]}: set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/gta demo

# One thread for each test process: more would fight for the cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --warnings
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Strict: a broken link, an unknown reference or a page that nobody links to fails. It works from disk, without a network.
docs: setup
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"
# Thousands of damaged files through every reader; some minutes. `make test` runs a short one.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --report docs/results/fuzz.md

constraints:
	@test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header --upgrade --quiet -o constraints.txt

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis
