# `make` prints this help. Everything runs from .venv, which the first target that needs it makes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The newest Python that all tests have passed on comes first. SUPPORTED says what setup.py says, and Debian ships ensurepip
# apart from Python. PYTHON=... takes another one.
PYTHONS := python3.13 python3.12 python3.11 python3.14
SUPPORTED := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(or $(shell for python in $(PYTHONS); do $$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done),python3)
CHECKED_PYTHON = $(if $(shell $(PYTHON) -c '$(SUPPORTED)' 2>/dev/null && echo yes),$(PYTHON),$(error \
	$(PYTHON) is not a Python 3.11 to 3.14 with venv and ensurepip: apt-get install python3-venv, or make PYTHON=/path/to/python3))
VENV := .venv
PY := $(VENV)/bin/python
PRESTACOP := $(PY) -m prestacop

# Tests start hundreds of processes. Where this is set, as in many containers, each one compiles the project anew.
unexport PYTHONDONTWRITEBYTECODE

# What a user gives is text and nothing else, whatever stands in it: make expands nothing in it, and the shell gets it
# in the environment, as "$$LAKE". ARGS alone are words for the shell.
GIVEN := DATA LAKE REPORT HISTORY MESSAGES CODES REASON ID UNIT EVERY
DATA_FROM := $(origin DATA)
YES_FROM := $(origin YES)
$(foreach name,$(GIVEN),$(if $(filter-out undefined,$(origin $(name))),$(eval override $(name) := $$(value $(name)))))
DATA ?= data
LAKE ?= $(DATA)/lake
REPORT ?= $(DATA)/report.html
EVERY ?= 30s
ARGS ?=
export $(foreach name,$(GIVEN),$(if $(filter-out undefined,$(origin $(name))),$(name)))

# Before a target that needs a variable, unless ARGS may have it.
NEED = $(if $($(2))$(ARGS),,echo "error: say which: make $(1) $(2)=..." >&2; exit 2)
.PHONY: need-codes need-reason need-id need-unit
need-codes: ; @$(call NEED,fines,CODES)
need-reason: ; @$(call NEED,replay,REASON)
need-id: ; @$(call NEED,trace,ID)
need-unit: ; @$(call NEED,undo,UNIT)

# Where s3:// or pubsub:// is meant and the shell says nothing of such a service: the one that runs here, if one does.
HERE = here() { local vars; if vars=$$($(PRESTACOP) services status --env "$$1"); then eval "$$vars"; \
	echo "$$1: the server that runs here; for another one set the variables of its clients" >&2; fi; }; \
	case "$$LAKE $$HISTORY" in *s3://*) [ -n "$$AWS_ENDPOINT_URL$$AWS_ENDPOINT_URL_S3$$AWS_PROFILE$$AWS_ACCESS_KEY_ID" ] || here s3 ;; esac; \
	case "$$HISTORY" in pubsub://*) [ -n "$$PUBSUB_EMULATOR_HOST$$GOOGLE_APPLICATION_CREDENTIALS" ] || here pubsub ;; esac;

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Whatever fails, make ends with 2; the exit code of the command is in make's last line: Error 4."
	@printf '  Variables: HISTORY=GLOB, MESSAGES=file:PATH (your own input for run-local), LAKE=%s, REPORT=%s, ARGS=...\n' "$$LAKE" "$$REPORT"

PIP := $(PY) -m pip install --quiet --disable-pip-version-check

# Each file that is installed has the hash that constraints.txt says, the tools that build this project too.
# editable_mode=compat: else a folder of data named lake where a command is called stands for the package of that name.
$(VENV)/.installed: setup.py constraints.txt
	$(CHECKED_PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes --requirement constraints.txt
	$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## install the pinned packages into .venv

# uv runs in an environment of its own and is pinned too. Versions stay as they are unless setup.py or ARGS needs others.
# uv would keep the hashes that it finds, and a new Python needs more of them, so it gets the versions alone.
.PHONY: pins
pins: ## renew constraints.txt from setup.py (ARGS=--upgrade: the newest versions)
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; $(CHECKED_PYTHON) -m venv "$$tools" && \
	"$$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement deploy/pins.txt && \
	sed '/--hash=/d; s/ *\\$$//' constraints.txt >"$$tools/constraints.txt" && \
	"$$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --extra dev --extra gcp --generate-hashes --no-annotate \
		--custom-compile-command 'make pins' --output-file "$$tools/constraints.txt" $(ARGS) setup.py <(printf 'setuptools\nwheel\n') && \
	cp "$$tools/constraints.txt" constraints.txt

.PHONY: run-local
run-local: install ## simulate input, fill a lake, answer the questions, write the report
	@$(HERE) $(PRESTACOP) run-local --data="$$DATA" --lake="$$LAKE" --report="$$REPORT" $(if $(HISTORY),--history="$$HISTORY") $(if $(MESSAGES),--messages="$$MESSAGES") $(ARGS)

.PHONY: live
live: install ## run a fleet, Kafka, S3, the graph and the console until Ctrl-C
	@$(PRESTACOP) live $(ARGS)

.PHONY: console
console: install ## the officers' console on http://127.0.0.1:8300, at the services here
	@$(CONSOLE_HERE) $(PRESTACOP) console $(if $(findstring --alerts,$(ARGS)),,$(CONSOLE_AT)) --data="$$DATA/console" $(ARGS)

.PHONY: analyze
analyze: install ## answer the questions, write the report (CODES=FILE: with fines)
	@$(HERE) $(PRESTACOP) analyze --lake="$$LAKE" --report="$$REPORT" $(if $(CODES),--codes="$$CODES") $(ARGS)

.PHONY: fines
fines: need-codes install ## compute fines by window and code, as CSV (CODES=FILE)
	@$(HERE) $(PRESTACOP) fines --lake="$$LAKE" $(if $(CODES),--codes="$$CODES") $(ARGS)

.PHONY: reconcile
reconcile: install ## check that rows in = rows out, and every file of the lake
	@$(HERE) $(PRESTACOP) reconcile --lake="$$LAKE" $(ARGS)

.PHONY: compact
compact: install ## publish, merge small files, delete replaced ones (by cron)
	@$(HERE) $(PRESTACOP) compact --lake="$$LAKE" $(ARGS)

.PHONY: replay
replay: need-reason install ## read dead letters again with the present rules (REASON=NAME)
	@$(HERE) $(PRESTACOP) replay --lake="$$LAKE" $(if $(REASON),--reason="$$REASON") $(ARGS)

.PHONY: undo
undo: need-unit install ## remove a unit from the lake, or restore it (UNIT=NAME, ARGS=--list)
	@$(HERE) $(PRESTACOP) undo --lake="$$LAKE" $(ARGS) $(if $(UNIT),-- "$$UNIT")

.PHONY: trace
trace: need-id install ## print everything about one message or ticket (ID=8002531292)
	@$(HERE) $(PRESTACOP) trace --lake="$$LAKE" $(ARGS) $(if $(ID),-- "$$ID")

.PHONY: doctor
doctor: install ## report what this machine can run and what is missing
	@$(PRESTACOP) doctor

.PHONY: services-install
services-install: install ## install Kafka, Pub/Sub and S3 servers and Prism (4 minutes, once)
	@$(PRESTACOP) services install $(ARGS)

.PHONY: services-up
services-up: install ## start Kafka, Pub/Sub and S3 servers here (ARGS=kafka: only that)
	@$(PRESTACOP) services up $(ARGS)

.PHONY: services-down
services-down: install ## stop them (ARGS=--clean: delete their data, too)
	@$(PRESTACOP) services down $(ARGS)

.PHONY: services-status
services-status: install ## show which run (ARGS=--env: variables for a shell)
	@$(PRESTACOP) services status $(ARGS)

.PHONY: flink-up
flink-up: install ## start a Flink cluster here: Java 17, no Docker
	@$(PRESTACOP) flink up $(ARGS)

.PHONY: flink-status
flink-status: install ## show its processes, jobs and newest checkpoint
	@$(PRESTACOP) flink status $(ARGS)

.PHONY: flink-stop
flink-stop: install ## stop its job with a savepoint (resume: submit-flink ARGS='--go-on ...')
	@$(PRESTACOP) flink stop $(ARGS)

.PHONY: flink-down
flink-down: install ## stop the cluster (ARGS=--clean: delete its checkpoints)
	@$(PRESTACOP) flink down $(ARGS)

.PHONY: submit-flink
submit-flink: install ## run the graph on it (ARGS='--messages URL --lake LAKE')
	@$(PRESTACOP) flink submit $(ARGS)

.PHONY: spark-up
spark-up: install ## start a Spark cluster here: Java 17, no Docker
	@$(PRESTACOP) spark up $(ARGS)

.PHONY: spark-status
spark-status: install ## show its processes
	@$(PRESTACOP) spark status $(ARGS)

.PHONY: spark-down
spark-down: install ## stop the cluster
	@$(PRESTACOP) spark down $(ARGS)

.PHONY: submit-spark
submit-spark: install ## run the graph on it (ARGS='--history FILES --lake LAKE')
	@$(PRESTACOP) spark submit $(ARGS)

.PHONY: follow-spark
follow-spark: install ## run it on a topic EVERY=30s (ARGS='--messages URL --lake LAKE')
	@$(PRESTACOP) spark submit --every="$$EVERY" $(ARGS)

# What make live reads and writes, unless ARGS says otherwise: topics of Kafka, and a file.
CONSOLE_AT = --alerts "$$k/alerts" --answers "$$k/drones" --images "$$k/images" --commands "$$k/commands" --confirmations "$$k/confirmations" --panes .services/data/live/panes.jsonl
CONSOLE_HERE = $(if $(findstring --alerts,$(ARGS)),,vars=$$($(PRESTACOP) services status --env kafka) || { \
	echo "error: kafka does not run here: make services-up ARGS=kafka, or say where in ARGS (--alerts, --answers, ...)" >&2; exit 4; }; \
	eval "$$vars"; k="kafka://$$KAFKA_BOOTSTRAP_SERVERS";)

# Without a place of its own (--kafka, --pubsub, --lake) in ARGS: at those of the services that run here. What the shell
# knows of services elsewhere is not meant.
TOPICS_AT = $${KAFKA_BOOTSTRAP_SERVERS:+--kafka "$$KAFKA_BOOTSTRAP_SERVERS"} $${PUBSUB_EMULATOR_HOST:+--pubsub local-dev} $${AWS_ENDPOINT_URL:+--lake s3://prestacop/lake}
TOPICS_HERE = unset KAFKA_BOOTSTRAP_SERVERS PUBSUB_EMULATOR_HOST AWS_ENDPOINT_URL; \
	if ! vars=$$($(PRESTACOP) services status --env); then \
	if [ -z "$$vars" ]; then echo "error: no service runs here: make services-up, or say where in ARGS (--kafka, --pubsub, --lake)" >&2; exit 4; fi; \
	echo "left out:" >&2; $(PRESTACOP) services status | grep "not running" >&2; fi; eval "$$vars";

.PHONY: topics
topics: install ## create topics and bucket rules at the services here, or by ARGS elsewhere
	@$(if $(findstring --kafka,$(ARGS))$(findstring --pubsub,$(ARGS))$(findstring --lake,$(ARGS)),$(PRESTACOP) topics $(ARGS),$(TOPICS_HERE) $(PRESTACOP) topics $(TOPICS_AT) $(ARGS))

PYTEST = $(PY) -m pytest
COVERAGE = $(PY) -m coverage
# Four workers on two cores: these tests often wait (decision 225).
# Their folders: four workers that each collect all tests take ten seconds more.
SERVICES_TIER = -n 4 --dist loadscope -m "services and not nightly" tests/services tests/deploy

.PHONY: test
test: install ## unit tests: no other process, no server (2 minutes on 2 cores)
	@$(PYTEST) -n 2 --dist worksteal -m "not (embedded or services or nightly)" $(ARGS)

.PHONY: test-embedded
test-embedded: install ## commands as processes, kills, Chromium, moto's S3 server (9 to 13 minutes)
	@$(PYTEST) -n 2 --dist worksteal -m "embedded and not (services or nightly)" $(ARGS)

.PHONY: test-services
test-services: install ## with the real Kafka, Pub/Sub, S3, Prism, Flink and Spark (13 to 17 minutes, once these are installed)
	@$(PYTEST) $(SERVICES_TIER) $(ARGS)

.PHONY: test-nightly
test-nightly: install ## campaigns of kills, negative controls, cuts at each byte; property tests with 200 examples
	@$(PYTEST) -n 1 -m "nightly or hypothesis" --hypothesis-profile=thorough --timeout=1800 $(ARGS)

# make -k: where one tier fails the others run, and make fails at the end.
.PHONY: test-all
test-all: test test-embedded test-services ## the three tiers that CI runs (about 33 minutes)

.PHONY: fresh-machine
fresh-machine: ## run the README's commands in a fresh Debian 13 (DEBIAN=bookworm: 12)
	@tests/fresh_machine.sh $(or $(DEBIAN),trixie) $(ARGS)

# sys.monitoring, where Python has it, costs less than tracing, which on 3.11 now and then fails where a thread starts.
.PHONY: coverage
coverage: install ## the share of lines that unit and embedded tests execute, then that all three tiers do
	@export COVERAGE_CORE=$$($(PY) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")'); \
	$(COVERAGE) erase; failed=0; \
	$(COVERAGE) run -m pytest -q -n 2 --dist worksteal -m "not (services or nightly)" $(ARGS) || failed=1; \
	$(COVERAGE) combine --quiet && echo "unit and embedded: $$($(COVERAGE) report --format=total) %"; \
	$(COVERAGE) run -m pytest -q $(SERVICES_TIER) $(ARGS) || failed=1; \
	$(COVERAGE) combine --quiet --append && $(COVERAGE) report; exit $$failed

.PHONY: pictures
pictures: install ## take the pictures of docs/console again, in Chromium
	@PRESTACOP_PICTURES=docs/console $(PY) -m pytest -q tests/apps/console/test_pictures.py

.PHONY: bench-stream
bench-stream: install ## measure Kafka to lake: throughput, latency, memory (9 minutes)
	@$(PY) -m tests.benchmarks.stream $(ARGS)

.PHONY: soak
soak: install ## kill pipeline, broker and object storage under load (15 minutes)
	@$(PY) -m tests.recovery.soak $(ARGS)

.PHONY: check
check: install ## ruff, mypy --strict, import-linter
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

.PHONY: bench
bench: install ## measure the pipeline beside polars (10 minutes, 8 GB of disk)
	@$(PY) -m tests.benchmarks.bench $(ARGS)

.PHONY: bench-lake
bench-lake: install ## measure an old, big lake against a small one (20 minutes, 15 GB of disk)
	@$(PY) -m tests.benchmarks.bench_lake $(ARGS)

.PHONY: bench-runners
bench-runners: install ## measure DirectRunner, Flink and Spark at parallelism 1 and 2
	@$(PY) -m tests.benchmarks.runners $(ARGS)

# What is removed is said on make's own command line, never by the environment.
CLEAN = $(if $(filter environment%,$(DATA_FROM)),echo "DATA of the environment is not meant: make $@ DATA=DIR" >&2;) $(PYTHON) -m prestacop clean $(if $(filter command,$(DATA_FROM)),--data="$$DATA")
DOWN = if [ -d .services ] && [ -x $(PY) ]; then for group in services flink spark; do $(PRESTACOP) $$group down; done; fi

.PHONY: clean
clean: ## stop all, remove programs, .venv and simulated input; keep data
	@$(DOWN)
	@$(CLEAN)

.PHONY: distclean
distclean: ## the same, and remove all data after a question (YES=1: without)
	@$(DOWN)
	@$(CLEAN) --all $(if $(filter command,$(YES_FROM)),$(if $(YES),--yes))
