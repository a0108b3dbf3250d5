# `make` prints this help. Everything runs from .venv, which the first target that needs it makes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
PY := $(VENV)/bin/python
DATA ?= data
LAKE ?= $(DATA)/lake
REPORT ?= $(DATA)/report.html
ROWS ?= 500000
ARGS ?=

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: HISTORY=GLOB, MESSAGES=file:PATH (your own input for run-local), LAKE=$(LAKE), REPORT=$(REPORT), ARGS=..."

$(VENV)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## make .venv with the pinned packages

.PHONY: run-local
run-local: install ## a fleet's messages and a ticket history -> a lake, its answers and a report, on this machine
	@$(PY) -m runners.local --data '$(DATA)' --lake '$(LAKE)' --report '$(REPORT)' $(if $(HISTORY),--history '$(HISTORY)') $(if $(MESSAGES),--messages '$(MESSAGES)') $(ARGS)

.PHONY: live
live: install ## a live fleet on Kafka, S3 and Prism here, followed into the lake, until Ctrl-C (ARGS=--help: all flags)
	@$(PY) -m runners.live $(ARGS)

.PHONY: analyze
analyze: install ## answer the questions over the lake; writes the report (CODES=FILE: with the fines)
	@$(PY) -m pipelines.analysis --lake '$(LAKE)' --report '$(REPORT)' $(if $(CODES),--codes '$(CODES)') $(ARGS)

.PHONY: fines
fines: install ## dollars by window and code, as CSV (CODES=FILE: the city's table of violation codes)
	@$(PY) -m pipelines.fines --lake '$(LAKE)' $(if $(CODES),--codes '$(CODES)') $(ARGS)

.PHONY: reconcile
reconcile: install ## check that rows in = rows out for every unit of the lake, and that the statistics add up
	@$(PY) -m pipelines.reconcile --output '$(LAKE)' $(ARGS)

.PHONY: compact
compact: install ## merge the lake's small files, each message once (ARGS=--vacuum: remove those that were replaced)
	@$(PY) -m pipelines.compact --lake '$(LAKE)' $(ARGS)

.PHONY: replay
replay: install ## after a rule was mended: let dead letters of a reason go through it again (REASON=time_unreadable)
	@$(PY) -m pipelines.replay --lake '$(LAKE)' $(if $(REASON),--reason '$(REASON)') $(ARGS)

.PHONY: trace
trace: install ## the whole story of a message or a summons (ID=8002531292)
	@$(PY) -m pipelines.trace --lake '$(LAKE)' '$(ID)' $(ARGS)

.PHONY: doctor
doctor: install ## what this machine can run
	@$(PY) -m runners.doctor

.PHONY: services-install
services-install: install ## only fetch and build what services-up starts, and Prism (once; 4 minutes on 2 cores)
	@$(PY) -m runners.services install $(ARGS)

.PHONY: services-up
services-up: install ## Kafka, Pub/Sub and S3 servers on this machine, without Docker (ARGS=kafka: that one alone)
	@$(PY) -m runners.services up $(ARGS)

.PHONY: services-down
services-down: install ## end them (ARGS=--clean: and remove what they have kept)
	@$(PY) -m runners.services down $(ARGS)

.PHONY: services-status
services-status: install ## what runs (ARGS=--env: as lines for a shell)
	@$(PY) -m runners.services status $(ARGS)

# Without a place of its own (--kafka, --pubsub, --lake) in ARGS: that of the services here.
TOPICS_AT = --kafka "$$KAFKA_BOOTSTRAP_SERVERS" --pubsub local-dev --lake s3://prestacop/lake
TOPICS_HERE = vars=$$($(PY) -m runners.services status --env) || { echo "error: run make services-up before" >&2; exit 4; }; eval "$$vars";

.PHONY: topics
topics: install ## topics, subscriptions and bucket rules, at the services here (ARGS='--kafka HOST:PORT ...': elsewhere)
	@$(if $(findstring --kafka,$(ARGS))$(findstring --pubsub,$(ARGS))$(findstring --lake,$(ARGS)),$(PY) -m runners.topics $(ARGS),$(TOPICS_HERE) $(PY) -m runners.topics $(TOPICS_AT) $(ARGS))

.PHONY: test
test: install ## unit and embedded tests (5 minutes at most on 2 cores)
	@$(PY) -m pytest -n 2 -m "not services" $(ARGS)

.PHONY: test-all
test-all: test ## those, and then, one by one, those that need real services (10 minutes more, once these are installed)
	@$(PY) -m pytest -n 1 -m services $(ARGS)

.PHONY: bench-stream
bench-stream: install ## Kafka -> lake beside a raw loop; how late statistics are; memory (8 minutes)
	@$(PY) -m tests.benchmarks.stream $(ARGS)

.PHONY: soak
soak: install ## kill pipeline, broker and object storage at random while a million messages go through (15 minutes)
	@$(PY) -m tests.recovery.soak $(ARGS)

.PHONY: check
check: install ## ruff, mypy --strict, import layers
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

.PHONY: bench
bench: install ## time the pipeline against polars, DuckDB, pyarrow and per-row Beam (20 minutes, 8 GB of disk)
	@$(PY) -m tests.benchmarks.bench $(ARGS)

.PHONY: clean
clean: ## end the services; remove them, the environment and what run-local made
	@if [ -d .services ] && [ -x $(PY) ]; then $(PY) -m runners.services down; fi
	rm -rf .services $(VENV) $(DATA)
