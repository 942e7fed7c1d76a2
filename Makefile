# Everything this repository can do. Needs python3 (3.11 or newer) and make; everything else is fetched into the checkout.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help bench faults soak simulate bench-convert bench-ledger test-agents up down status clean check fmt test e2e migrate docs lock image venv

BIN := .venv/bin
ANY_PYTHON := $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
WORKERS ?= 2
# The agents that `make test` leaves to `make test-agents`.
AGENTS := tests/agents/test_qwen_code.py tests/agents/test_opencode.py
# These come with pydantic-settings, aio-pika, aiohttp, redis and the SDKs, whose versions decide theirs.
COME_ALONG := --per-rule-ignores 'DEP003=pydantic|aiormq|pamqp|yarl|hiredis|httpx2'
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	--no-emit-index-url --no-header --python-version 3.11 $(if $(UPGRADE),--upgrade)

help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9_-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "TOKENOUTPUT_RUN_DIR (.run) and TOKENOUTPUT_PORT_BASE (25600) choose the stack; several can run side by side."

##@ Run it on this machine, without Docker
up: venv ## Start servers, services and a demo customer; say how to call them
	@$(BIN)/python -m deploy.local up

down: ## Stop all of it; the data stays
	@$(ANY_PYTHON) -m deploy.local down

status: ## Say what runs
	@$(ANY_PYTHON) -m deploy.local status

migrate: venv ## Bring the running stack's tables up to date
	@set -a && . $${TOKENOUTPUT_RUN_DIR:-.run}/env && exec $(BIN)/tokenoutput migrate

clean: ## Stop the stack and remove its data, and what tests and tools left
	@$(ANY_PYTHON) -m deploy.local down
	rm -rf $${TOKENOUTPUT_RUN_DIR:-.run} .run-test build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

##@ Work on it
check: venv ## Style, types, who imports whom and what, and the guards on locks and migrations
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry . --optional-dependencies-dev-groups dev $(COME_ALONG)
	$(BIN)/python -m tests.guards.locks
	$(BIN)/python -m tests.guards.migrations

fmt: venv ## Put the code into the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: venv ## All tests, with private servers of their own; WORKERS=2 at a time
	@$(BIN)/python -m tests.agents.install sdks claude
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(addprefix --ignore=,$(AGENTS)) $(TESTS)

test-agents: venv ## Coding agents, headless, through a whole gateway; needs Node.js
	TOKENOUTPUT_REQUIRE_NODE=1 $(BIN)/python -m tests.agents.install
	TOKENOUTPUT_REQUIRE_NODE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/agents

simulate: venv ## Chaos against holds, leases and the ledger, run by run; SEEDS=10 SECONDS=20
	SIMULATE_TELL=1 SIMULATE_SEEDS=$(or $(SEEDS),10) SIMULATE_SECONDS=$(or $(SECONDS),20) \
		$(BIN)/python -m pytest -q tests/simulator tests/unit/billing/test_lease_model.py

e2e: venv ## Only the tests that call a whole running gateway
	$(BIN)/python -m pytest tests/e2e

bench: up ## What the gateway adds to a call, as ratios against the simulated provider alone
	@set -a && . $${TOKENOUTPUT_RUN_DIR:-.run}/env && exec $(BIN)/python -m tests.bench

faults: venv ## The whole fault matrix, 3 seeds each; FAULTS="F13 F22" for some, SEEDS=7, LONG=1 for full outages
	$(BIN)/python -m tests.faults $(FAULTS)

soak: venv ## Faults at random under load, for SECONDS=1800
	$(BIN)/python -m tests.faults soak

bench-convert: venv ## What conversion and choosing an offer cost, in microseconds
	$(BIN)/python -m tests.bench.convert
	$(BIN)/python -m tests.bench.choose

bench-ledger: venv ## How fast usage becomes charges and holds are made, on servers of its own
	$(BIN)/python -m tests.bench.ledger

docs: venv ## Write the pages that are made from the code
	$(BIN)/tokenoutput settings >docs/configuration.md

lock: venv ## Pin what pyproject.toml asks for; UPGRADE=1 takes the newest
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	$(BIN)/python -m tests.guards.locks

##@ Ship it
image: ## Build the container image; INSTALL=1 first installs a builder (root, Debian)
	@$(ANY_PYTHON) -m deploy.image $(if $(INSTALL),--install)

venv:
	@sh deploy/local/venv.sh
