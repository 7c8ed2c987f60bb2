# Everything runs in this checkout's own .venv; `make` alone lists what there is.
SHELL := /bin/bash
BIN := .venv/bin
EVENTS ?=
ARGS ?=
JOBS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))

.DEFAULT_GOAL := help
.PHONY: help setup servers demo test lint format schemas catalogue bench wheel clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

setup: ## make .venv with the pinned packages (done by the others too)
	@scripts/setup.sh

servers: setup ## fetch the real Redis and Apache Kafka that integration tests and benchmarks start
	@for script in scripts/setup-redis.sh scripts/setup-kafka.sh; do if [ -x $$script ]; then $$script || exit 1; fi; done

demo: setup ## run Steward live on embedded servers; EVENTS=20000 ends after so many
	@$(BIN)/steward demo $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

test: servers ## run the whole test suite in JOBS processes; ARGS='-k name' passes on to pytest
	@$(BIN)/python -m tests.support.warm
	@$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## ruff, mypy --strict, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## let ruff sort imports and mend what it can
	@$(BIN)/ruff check --fix .

schemas: setup ## write schemas/ from the types and the loader's tables
	@$(BIN)/python -m engine.domain.schema schemas/ && $(BIN)/python -m engine.ruleset.schema schemas/

catalogue: setup ## write docs/rules-catalogue/ and docs/campaigns-catalogue/ from the files and the measured figures
	@$(BIN)/python -m load_tests.rules_catalogue && $(BIN)/python -m load_tests.campaigns_catalogue

bench: servers ## run the benchmarks of load_tests/ and print their table
	@$(BIN)/python -m load_tests $(ARGS)

wheel: setup ## build the wheel into dist/
	@$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what was built, cached or installed here
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .cache .runtime
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
