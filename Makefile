# Ostler's everyday commands; `make help` lists them. A clean clone needs Python 3.11 or later and GNU make, nothing else:
# each target brings its own environment up to the locks in requirements/ first. PYTHON=... chooses the interpreter.

VENV := .venv
ENGINE_VENV := .venv-engine
BIN := $(VENV)/bin
# Where the simulated default can be replaced by a real engine, this names the interpreter that has it.
export OSTLER_ENGINE_PYTHON ?= $(CURDIR)/$(ENGINE_VENV)/bin/python
export PYTHON
# Tests run in so many processes side by side, each file in one of them. Every second one has the tests that mostly wait
# (tests/lanes.py), so there may be twice as many as processors.
JOBS ?= 4
# Seeds of `make simulate`.
SEEDS ?= 1000
# Seeds of a night; each night plays others.
NIGHTLY_SEEDS ?= 20000
# Length of `make fuzz`.
SECONDS ?= 300
# How long `make soak` loads a hub.
MINUTES ?= 60
# Tasks and seed of `make crash`.
TASKS ?= 10000
SEED ?= 1
# Set to run the tests without real agent command lines, where npm has no way to fetch them.
export WITHOUT_AGENTS ?=
# Set to run the tests without a browser, where none can be installed.
export WITHOUT_BROWSER ?=
# Set to run the tests without a pooler before PostgreSQL, where none can be installed.
export WITHOUT_POOLER ?=
# Set to run aider too, which is some hundred packages from PyPI.
export WITH_AIDER ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-engine simulate simulate-nightly crash soak fuzz check format bench engine lock texts licences clean FORCE

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/core.stamp $(if $(filter llama,$(ENGINE)),engine) ## start a hub with simulated hosts (ENGINE=llama: and a real llama.cpp)
	@$(BIN)/ostler demo $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

test: $(VENV)/dev.stamp $(if $(WITHOUT_AGENTS),,$(VENV)/agents.stamp) $(if $(WITHOUT_BROWSER),,$(VENV)/browser.stamp) ## run the tests, except those that need the real engine (ARGS=... for pytest)
	@$(if $(WITHOUT_POOLER),,scripts/pooler.sh /usr/sbin:/sbin)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -m "not engine" -n $(JOBS) --dist loadfile $(ARGS)

test-engine: $(VENV)/dev.stamp $(if $(WITHOUT_AGENTS),,$(VENV)/agents.stamp) engine ## run the tests against a real llama.cpp
	@$(BIN)/pytest -m engine $(ARGS)

simulate: $(VENV)/dev.stamp ## play SEEDS=1000 seeds of worlds in which everything fails (ARGS=--seed N: one of them)
	@$(BIN)/python -m tests.simulator --seeds $(SEEDS) $(ARGS)

simulate-nightly: $(VENV)/dev.stamp ## play NIGHTLY_SEEDS=20000 seeds that no night before has played
	@$(BIN)/python -m tests.simulator --first $$(date -u +%Y%m%d00000) --seeds $(NIGHTLY_SEEDS) $(ARGS)

fuzz: $(VENV)/dev.stamp ## give hostile inputs to every reader for SECONDS=300 (ARGS=--only WORD: some of them)
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

soak: $(VENV)/dev.stamp ## load a hub for MINUTES=60 and judge whether its memory or handles grow
	@$(BIN)/python bench/soak.py --minutes $(MINUTES) $(ARGS)

crash: $(VENV)/dev.stamp ## TASKS=10000 through real processes that are really killed, on each store (SEED=1)
	@for store in sqlite postgres; do \
		$(BIN)/python -m tests.crash --store $$store --tasks $(TASKS) --seed $(SEED) $(ARGS) || exit 1; \
	done

check: $(VENV)/dev.stamp ## lint, format, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## format the code and mend what the linter can mend itself
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: $(VENV)/dev.stamp ## run every benchmark, briefly
	@for bench in bench/*.py; do \
		case $$bench in bench/gateway.py) brief=--quick;; *) brief=;; esac; \
		echo "== $$bench"; $(BIN)/python $$bench $$brief || exit 1; \
	done

engine: $(ENGINE_VENV)/engine.stamp ## compile llama.cpp once and install it into an environment of its own

lock: $(VENV)/core.stamp ## rewrite requirements/*.lock from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(BIN)/python scripts/lock.py $(ARGS)

texts: $(VENV)/dev.stamp ## write the texts of all statements of the store anew, from its tables, queries and migrations
	@$(BIN)/python scripts/texts.py

licences: $(VENV)/dev.stamp ## write docs/reference/dependencies.md from what is installed
	@$(BIN)/python scripts/licences.py

clean: ## remove environments and caches of this folder (the compiled engine is kept in its cache)
	@rm -rf $(VENV) $(ENGINE_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/core.stamp: requirements/core.lock requirements/build.lock pyproject.toml scripts/venv.sh
	@scripts/venv.sh $(VENV) requirements/core.lock requirements/build.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/core.stamp
	@scripts/venv.sh $(VENV) requirements/dev.lock
	@touch $@

# The link is kept in the environment; what it points to is shared by all clones of this user.
$(VENV)/agents.stamp: tests/agents/package-lock.json tests/agents/package.json scripts/agents.sh $(if $(WITH_AIDER),FORCE) | $(VENV)/core.stamp
	@scripts/agents.sh $(VENV)/agents
	@touch $@

FORCE:

# As the agents: a link to what all clones of this user share.
$(VENV)/browser.stamp: tests/browser/package-lock.json tests/browser/package.json scripts/browser.sh | $(VENV)/core.stamp
	@scripts/browser.sh $(VENV)/browser
	@touch $@

$(ENGINE_VENV)/engine.stamp: requirements/engine.lock requirements/llama.lock scripts/engine.sh scripts/venv.sh
	@scripts/engine.sh $(ENGINE_VENV)
	@touch $@
