# `make demo` and `make test` need Python 3.10+ and a network to the package index, nothing else: both make .venv.
# PYTHON=/path/to/python3 chooses the interpreter, VENV=folder the environment, JOBS=n the test processes.

VENV ?= .venv
PYTHON ?=
JOBS ?= 2
METHOD ?= tsm
TESTS ?= tests
MARKS ?= not slow and not long
PY := $(VENV)/bin/python
RUN := OMP_NUM_THREADS=1 $(PY)
# containers set it; tests start many interpreters, and each would compile everything again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-real test quick long soak lint type bench docs site pictures clean

help:  ## this list
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  make %-11s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## make motion8, train on the CPU, evaluate, analyse; METHOD=tsn or segments
	@$(PY) -m tools.demo --method $(METHOD)

demo-real: $(VENV)/.installed  ## fetch real footage and ImageNet weights; TSM, TSN and random weights compared
	@$(PY) -m tools.demo_real

test: $(VENV)/.installed-dev  ## all tests but the long ones, in $(JOBS) processes; TESTS=tests/utils runs one folder
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m "$(MARKS)" $(TESTS)

quick: $(VENV)/.installed-dev  ## the tests to run while you work: all that take less than 0.4 seconds; 90 s
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m "$(MARKS) and not whole" $(TESTS)

long: $(VENV)/.installed-dev  ## the long tests, which CI runs too: Slurm, Chromium, kills, every family again
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m "long and not slow" $(TESTS)

soak: $(VENV)/.installed-dev  ## the tests that take hours: 200 interruptions, every model, damaged files of every kind
	SOAK=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal -m "slow or interrupt" --durations 20 $(TESTS)

lint: $(VENV)/.installed-dev  ## ruff: rules and format; hadolint for the container
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/hadolint Dockerfile

type: $(VENV)/.installed-dev  ## mypy
	$(PY) -m mypy

bench: $(VENV)/.installed  ## every benchmark, or NAME=step
	@for file in $(if $(NAME),benchmarks/$(NAME).py,$(wildcard benchmarks/[a-z]*.py)); do \
	    echo "== $$file"; $(PY) -m benchmarks.$$(basename $$file .py) || exit 1; done

docs: $(VENV)/.installed-dev  ## check the documentation's links and run its commands and code; PAGE=docs/x.md chooses
	$(RUN) -m tools.check_docs --run $(if $(PAGE),--page $(PAGE))

site: $(VENV)/.installed-dev  ## build the documentation site into build/site; a warning is an error
	$(PY) -m sphinx -q -E -W --keep-going -n -c docs -d build/doctrees . build/site
	@echo "build/site/index.html"

pictures: $(VENV)/.installed-dev  ## the pictures of docs/, from a small experiment; needs Chromium
	$(RUN) -m tools.docs_pictures

clean:  ## remove caches; .venv, data and experiments stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache build site
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.txt tools/make_venv.sh
	@sh tools/make_venv.sh "$(VENV)" "$(PYTHON)" requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt requirements-extras.txt tools/make_venv.sh
	@sh tools/make_venv.sh "$(VENV)" "$(PYTHON)" requirements.txt requirements-extras.txt requirements-dev.txt
	@touch $(VENV)/.installed $@
