# make run: everything set up and the system running.  make test: everything set up and tested.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

.PHONY: run run-hub test chaos fuzz check format bench-queue bench-tree bench-http bench-hub bench-eyes clean help

help:
	@echo "make run          set up, start an embedded Postgres and the whole system (PORT=7860)"
	@echo "make run-hub      the same with photos on a Hub of its own, of which ARGS='--rage 0.2' makes a bad one"
	@echo "make test         set up and run the tests"
	@echo "make chaos        kill, stop and cut off a tree for MINUTES=10 and check that nothing is lost (SEED= again)"
	@echo "make fuzz         send a system what its OpenAPI document allows and what not, for MINUTES=5 (SEED= again)"
	@echo "make check        lint, types and import layers"
	@echo "make format       rewrite the code the way make check wants it"
	@echo "make bench-queue  measure the queue beside others, 25 to 45 minutes (ARGS='--rounds 1'; docs/benchmarks.md)"
	@echo "make bench-tree   measure start, healing, memory and idleness of the tree, about 4 minutes"
	@echo "make bench-http   measure requests, uploads and open sockets of one web process, 6 to 15 minutes"
	@echo "make bench-hub    measure the archiver against a Hub of its own, about 2 minutes"
	@echo "make bench-eyes   measure photos a second and memory with the model in ten workers, about 3 minutes"
	@echo "make clean        remove the virtual environment and caches; var/, the data, stays"

run: $(READY)
	@echo "Hyperion is up once it logs node.started with its URL; the README has a first photo. Ctrl-C stops it."
	@exec $(BIN)/python supervisor.py --dev

run-hub: $(READY)
	@HYPERION_VAR=$${HYPERION_VAR:-var-hub} exec $(BIN)/python -m tests.hub $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

chaos: $(READY)
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: $(READY)
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(ARGS)

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# graphile-worker needs node and Celery a redis-server; what is not there is left out, and said so.
bench-queue: $(BENCH_READY)
	@$(BIN)/python -m benchmarks.queue $(ARGS)

bench-tree: $(READY)
	@$(BIN)/python -m benchmarks.tree $(ARGS)

# wrk makes the load where it is installed, else a small client of the benchmark's own.
bench-http: $(READY)
	@$(BIN)/python -m benchmarks.http $(ARGS)

bench-hub: $(READY)
	@$(BIN)/python -m benchmarks.hub $(ARGS)

bench-eyes: $(READY)
	@$(BIN)/python -m benchmarks.eyes $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache benchmarks/node_modules

# The stamp is written last, so an interrupted install is done again.
$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Hyperion needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12 …" % sys.version.split()[0])'
	@echo "Setting up $(VENV) (a minute or a few, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(BENCH_READY): $(READY) benchmarks/requirements.txt benchmarks/package.json
	@echo "Setting up the queues to compare with"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	@if command -v npm >/dev/null; then npm install --prefix benchmarks --silent --no-fund --no-audit; fi
	@touch $@
