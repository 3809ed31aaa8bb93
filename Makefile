# On a fresh machine: `make demo` (core only; audits an example), `make test` (everything).
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
EXAMPLE := examples/versions/v5-transformer

.PHONY: demo test lint check bench rates docs clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mldiag needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV) (core only)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.all: $(VENV)/.core
	@echo "setting up $(VENV) (all extras)"
	@$(PIP) --editable '.[analysis,dev]'
	@touch $@

demo: $(VENV)/.core  ## audit the founding case
	@$(BIN)/python -m mldiag check $(EXAMPLE); code=$$?; \
	if [ $$code -ne 1 ]; then echo "expected exit code 1 (errors found), got $$code" >&2; exit 1; fi; \
	echo; echo "exit code 1: errors were found, and a CI gate would stop this run."; \
	echo "Next: $(BIN)/mldiag fix $(EXAMPLE)    (prints the correction as a diff)"

test: $(VENV)/.all  ## every test
	@$(BIN)/python -m pytest -n auto

lint: $(VENV)/.all  ## format, lint, types, docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python docs/build.py --check

check: lint  ## lint and the fast tests
	@$(BIN)/python -m pytest -n auto -m 'not slow'

$(PEERS)/.ready: benchmarks/peers.txt
	@echo "setting up $(PEERS) (what the benchmarks compare with)"
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement benchmarks/peers.txt
	@touch $@

bench: $(VENV)/.all $(PEERS)/.ready  ## benchmarks against peers
	@$(BIN)/python benchmarks/cold_start.py
	@code=0; for each in tensorboard_events csv_table jsonl trainer_state text_log many_runs tensor_statistics; do \
	$(BIN)/python benchmarks/$$each.py --peers $(PEERS)/bin/python || code=$$?; done; \
	for each in curve_rules editors kills; do $(BIN)/python benchmarks/$$each.py || code=$$?; done; exit $$code

rates: $(VENV)/.all  ## how often rules find what they are for: make rates SETS="runs=map.json"
	@$(BIN)/python benchmarks/rule_rates.py $(SETS) --selftest

docs: $(VENV)/.all  ## what follows from the code: docs/rules/, docs/reading.md, examples/expected/
	@$(BIN)/python docs/build.py
	@MLDIAG_GOLDEN=write $(BIN)/python -m pytest tests/test_examples.py -k expected_output

clean:
	@rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
