# Every target works as the first command on a fresh clone, says what it does while it does it, and
# touches nothing outside the checkout (pip's and cargo's download caches aside) except system-deps.
#
#   make PYTHON=/path/to/python3.12 test     builds and tests with that Python
#   make PROFILE=dev run                     builds in seconds, for code that runs more slowly
#   make DEMO=examples/echo_async.py run     starts another example
#   make MESSAGES=20 conformance             sends that many messages in each compression case

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= $(shell tools/find_python.sh default)
VENV ?= .venv
DEMO ?= examples/wasp/wasp.toml
MESSAGES ?= 1000
# Cargo's profile: of what is shipped and measured, and of what is built to be tested soon.
shipped := $(or $(PROFILE),release)
quick := $(or $(PROFILE),dev)
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TERM_COLOR ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export VIRTUAL_ENV := $(abspath $(VENV))
# Images of containers often set the last one. Without bytecode, each of the thousands of processes
# that the tests start compiles all that it imports.
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

python := $(VENV)/bin/python
stamps := $(VENV)/stamps
install := $(python) -m pip install --quiet --constraint tools/constraints.txt
rust_sources := $(shell find crates -name '*.rs' -o -name '*.toml') Cargo.toml \
	$(wildcard Cargo.lock) pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-everything nightly prove check bench wheel docs suites fuzz \
	trace system-deps conformance constraints build build-for-tests lock-layout clean need FORCE

help: ## Print this list
	@echo "Vespiary: make TARGET, one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

run: build ## Build, start the demo and print its addresses (DEMO=examples/...)
	@echo "==> Starting $(DEMO) (Ctrl-C stops it)"
	@$(if $(filter %/wasp.toml,$(DEMO)),echo "==> The dashboard: http://127.0.0.1:9180/")
	@$(if $(filter %/wasp.toml,$(DEMO)),echo "==> The chat: http://127.0.0.1:8080/")
	@$(if $(filter %/wasp.toml,$(DEMO)),test -e examples/wasp/localhost.pem || \
		$(python) -m vespiary cert --days 825 --folder examples/wasp)
	@exec $(python) $(if $(filter %.toml,$(DEMO)),-m vespiary run) $(DEMO)

# Pip waits for the network and the disk while the crates are compiled.
build-for-tests:
	@$(MAKE) -j2 $(stamps)/group-test $(stamps)/core-$(quick)

test: build-for-tests ## Build, and run the tests for every change (under 8 minutes)
	@$(python) tools/run_tests.py test

test-all: ## Run the rest of the tests (about 30 minutes)
test-all: $(stamps)/group-test $(stamps)/core-$(shipped)
	@$(python) tools/run_tests.py test-all

test-everything: test test-all ## Both, and then all seeds, cases, loops and Pythons (hours)
	@$(MAKE) build-for-tests
	@$(python) tools/run_tests.py test-everything

nightly: build-for-tests ## The examples on every CPython, valgrind, three hosts; planted defects
	@$(python) tools/run_tests.py nightly $(CASES)

prove: build-for-tests ## Run the examples under every tool on both drivers (CASES='echo_* chat')
	@$(python) -m vespiary prove examples/suite.toml $(CASES)

check: ## Formats, lints, types, imports, stubs, documents, style
check: $(stamps)/group-check $(stamps)/core
	@$(python) tools/run_checks.py

bench: build ## Measure against the peers, into benches/results
	@echo "==> Measuring; this takes some minutes"
	@$(python) -m benches
	@$(python) -m benches.broadcast
	@$(python) -m benches.datagrams
	@$(python) -m benches.tls
	@$(python) -m benches.loops

wheel: ## Build the wheel into dist/, and try it in an empty environment
wheel: $(stamps)/group-build src/vespiary/_lockwatch.so
	@echo "==> Building the wheel (the first build takes one to two minutes)"
	@$(VENV)/bin/maturin build --profile $(shipped) --locked --out dist --interpreter $(python)
	@$(python) tools/try_wheel.py

docs: $(stamps)/group-docs $(stamps)/core ## Build the documents into docs/_build/html
	@echo "==> Building the documents"
	@$(python) -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "==> docs/_build/html/index.html"

conformance: $(stamps)/group-test build ## Run other people's conformance suites (Autobahn)
	@echo "==> Running the conformance suites, $(MESSAGES) messages a compression case"
	@VESPIARY_AUTOBAHN_MESSAGES=$(MESSAGES) $(python) -m pytest tests/conformance

suites: build-for-tests ## Run other projects' own tests on our loop, and with our HTTP server
	@$(python) -m tests.suites asyncio
	@$(python) -m tests.suites uvloop
	@$(python) -m tests.suites http --every-cut
	@$(python) -m tests.suites h1spec
	@$(python) -m tests.suites peers --every-cut
	@$(python) -m tests.suites starlette
	@$(python) -m tests.suites fastapi

fuzz: ## Fuzz each target of fuzz/ for SECONDS (20 by default)
	@$(PYTHON) tools/run_fuzz.py $(or $(SECONDS),20)

trace: ## Prove every marked requirement: its tests must fail without it
trace: $(stamps)/group-test $(stamps)/core
	@$(python) tools/run_trace.py

system-deps: ## Install the Debian packages that the build and some tests want (as root)
	@tools/system_deps.sh

build: $(stamps)/core-$(shipped) ## Make .venv and build the Rust core into it

constraints: ## Renew tools/constraints.txt from the newest releases
	@tools/renew_constraints.sh "$(PYTHON)"

lock-layout: ## Renew what Python knows of the locks' records, from the library's source
	@$(VENV)/bin/python tools/lock_layout.py
	@$(VENV)/bin/ruff format --quiet src/vespiary/prove/locks/layout.py

clean: ## Remove everything that was built
	rm -rf .venv* .cache dist target docs/_build src/vespiary/_core.*.so src/vespiary/_lockwatch.so

need:
	@tools/need.sh "$(PYTHON)"

$(stamps)/python: FORCE | need
	@tools/make_venv.sh "$(VENV)" "$(PYTHON)"

$(stamps)/group-%: pyproject.toml tools/constraints.txt $(stamps)/python
	@echo "==> Installing the tools of the group '$*' into $(VENV)"
	@$(install) --group $*
	@touch $@

# One pip at a time.
$(stamps)/group-test: | $(stamps)/group-build

# The extension lies in src/vespiary with the Python version in its name, so that environments of
# several Pythons share one checkout. The stamp core-PROFILE says which profile is there.
$(stamps)/core: $(rust_sources) $(stamps)/group-build src/vespiary/_lockwatch.so
	@$(MAKE) $(stamps)/core-$(quick)

$(stamps)/core-%: $(rust_sources) $(stamps)/group-build src/vespiary/_lockwatch.so
	@echo "==> Building the Rust core for $$($(python) -V), profile $* (the first time, some minutes)"
	@PIP_QUIET=1 PIP_CONSTRAINT=tools/constraints.txt $(VENV)/bin/maturin develop --profile $*
	@rm -f $(stamps)/core-*
	@touch $@ $(stamps)/core

# What `vespiary locks` preloads knows of no Python, so one serves all.
src/vespiary/_lockwatch.so: $(shell find crates/lockwatch/src -type f) \
		crates/lockwatch/Cargo.toml | need
	@echo "==> Building the library that watches locks"
	@cargo build --quiet --locked --release -p vespiary-lockwatch
	@cp $(CARGO_TARGET_DIR)/release/libvespiary_lockwatch.so $@.new
	@mv $@.new $@ # anyone who has it loaded keeps the old file
