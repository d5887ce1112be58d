# make run: everything set up and the system running.  make test: everything set up and tested.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test check format clean help

help:
	@echo "make run     set up, start an embedded Postgres and the whole system (PORT=7860)"
	@echo "make test    set up and run the tests"
	@echo "make check   lint, types and import layers"
	@echo "make format  rewrite the code the way make check wants it"
	@echo "make clean   remove the virtual environment and caches; var/, the data, stays"

run: $(READY)
	@echo "Hyperion will listen on http://localhost:$${HYPERION_PORT:-$${PORT:-7860}} once it logs node.started."
	@echo "Try: curl http://localhost:$${HYPERION_PORT:-$${PORT:-7860}}/api/health (the README has a first photo). Ctrl-C stops it."
	@exec $(BIN)/python supervisor.py --dev

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamp is written last, so an interrupted install is done again.
$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Hyperion needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12 …" % sys.version.split()[0])'
	@echo "Setting up $(VENV) (a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
