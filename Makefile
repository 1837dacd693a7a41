# A target for each thing a person does here; `make` alone lists them.
# ARGS goes to the command behind a target: make demo ARGS=--no-ui, make test ARGS="-k writer".

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up test faults lint format bench soak build clean

# Containers often set this; without bytecode every process compiles all it imports anew, several seconds of it.
unexport PYTHONDONTWRITEBYTECODE

ARGS ?=
BIN := .venv/bin
PACKAGES := financehub_dagster financehub_dagster_tests
MACHINE := financehub_dagster_tests/properties/test_platform_machine.py
SIMULATION := financehub_dagster_tests/assets/intraday/test_simulated_ticks.py
DEMO := financehub_dagster_tests/end_to_end/test_demo.py
RANDOM := financehub_dagster_tests/assets/prices/test_random_actions.py financehub_dagster_tests/unit/ledger/test_random.py
OTHER_VERSIONS := financehub_dagster_tests/unit/other_versions
BY_ITSELF := financehub_dagster_tests/end_to_end/test_platform_by_itself.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## build .venv from uv.lock; finds or fetches uv and Python 3.12 or 3.13 (PYTHON=path names one)
	@scripts/setup.sh

demo: setup ## embedded database, sample market, full backfill, summary and webserver (ARGS=--no-ui: no webserver)
	@$(BIN)/financehub demo $(ARGS)

up: setup ## run webserver, daemon and code location until Ctrl-C
	@$(BIN)/financehub up $(ARGS)

test: lint ## everything CI runs: lint, types, layers, then the whole suite
	@$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

faults: setup ## the whole fault suite: every kill point, random instants, outages (make test has a short form)
	@$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --faults full $(MACHINE) $(SIMULATION) $(DEMO) $(RANDOM) $(BY_ITSELF) $(OTHER_VERSIONS) financehub_dagster_tests/faults $(ARGS)

lint: setup ## format check, ruff, mypy, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## rewrite the sources the way lint wants them
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: setup ## run the benchmarks and print their ratios (ARGS="writer --markdown out.md")
	@$(BIN)/python -m financehub_dagster_tests.bench $(ARGS)

soak: setup ## run the platform for an hour on the sample market: CPU, memory, disk (ARGS=--quick: three minutes, ARGS="--minutes 120": two hours)
	@$(BIN)/python -m financehub_dagster_tests.bench.bench_soak $(ARGS)

build: setup ## build the wheel and source archive into dist/
	@$$(scripts/ensure-uv.sh) build

clean: ## remove the environment, caches and build output; data in .financehub and .env stay
	@rm -rf .venv .uv .uv.new.* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +
