# make demo    set up an environment and walk from a Keras file to verified masks
# make test    set up and run all checks and tests
# make lint    the checks only      make clean    remove what make made
#
# Needs make and Python >= 3.11, nothing else. Another Python: make PYTHON=python3.12 test

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
JOBS = 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# Some systems start Python with an ASCII locale; file names and tables are UTF-8.
export PYTHONUTF8 := 1
# Settings of the user's own that would lead Python and pip out of the environment, or drop asserts.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER := 0
# A network that stumbles is no failure.
export PIP_RETRIES ?= 10
export PIP_DEFAULT_TIMEOUT ?= 60

.PHONY: help demo test lint clean
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

# A stamp in the environment: it is made anew when what it was made from changes.
RUN_STAMP := $(VENV)/.segrt-run
DEV_STAMP := $(VENV)/.segrt-dev

$(RUN_STAMP): pyproject.toml constraints.txt tools/make_venv.py
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found."; \
		echo "  do: sudo apt install python3 (Debian 12, Ubuntu 24.04), or make PYTHON=/path/to/python3.11 ..."; exit 4; }
	@echo "setting up $(VENV) with $(PYTHON) ..."
	@$(PYTHON) tools/make_venv.py $(VENV)
	@# Without isolation, so that the build tools too are the pinned ones.
	@$(PIP) hatchling editables setuptools wheel
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "adding the test tools ..."
	@$(PIP) --no-build-isolation -e '.[dev,rtx]'
	@touch $@

demo: $(RUN_STAMP)
	$(BIN)/segrt demo

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(JOBS) -q

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
