# The commands of README.md. Each sets up what it needs in $(VENV); running again is cheap.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PHOTOS = examples/photos/astronaut.jpg examples/photos/camera.png examples/photos/grace_hopper.jpg

.PHONY: help demo test lint bench
help:
	@echo 'make demo    detect poses in the photos of examples/photos, draw them into demo_output/'
	@echo 'make test    run all tests (PYTEST_ARGS="-m \"not slow\"" leaves the slow ones out)'
	@echo 'make lint    check the code style'
	@echo 'make bench   measure speed and memory, see docs/performance.md'
	@echo 'PYTHON=python3.12 VENV=.venv312 takes another Python and keeps its packages apart.'

demo: $(VENV)/.installed-viz
	$(BIN)/metro-tf detect $(PHOTOS) --out demo_output

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	    --max-worker-restart 0 $(PYTEST_ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/python -m flake8 metro_tf training tests examples
	$(BIN)/python -m isort --check-only --diff metro_tf training tests examples

bench: $(VENV)/.installed-test
	$(BIN)/python -m tests.benchmarks.crops
	$(BIN)/python -m tests.benchmarks.estimator
	$(BIN)/python -m tests.benchmarks.training_steps
	$(BIN)/python -m tests.benchmarks.heads
	$(BIN)/python -m tests.benchmarks.runtimes
	$(BIN)/python -m tests.benchmarks.coarse_to_fine

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@
