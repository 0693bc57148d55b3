# The commands of the project; `make help` lists them. Each one sets the environment up first.
#
# The environment is the active named conda environment, or else .venv in this folder.

SHELL := /bin/bash
.DEFAULT_GOAL := help

ENV := .venv
ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
ifneq ($(wildcard $(CONDA_PREFIX)/bin/python),)
ENV := $(CONDA_PREFIX)
endif
endif
PYTHON := $(ENV)/bin/python

# Only the environment's own packages and kernel count, whatever the user's home holds.
export PYTHONNOUSERSITE := 1
export JUPYTER_PREFER_ENV_PATH := 1

.PHONY: help setup book html test check notebooks run lab studies gpu bench lint clean

help:  ## list these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup:  ## create or update the environment (two to three minutes, once)
	@bash setup_environment.sh $(ENV)

book: setup  ## run the demo sets and render the book with their results: _build/html/index.html
	@$(PYTHON) -m deepmucs_utils.cli book

html: setup  ## render the book from the stored notebooks, without running anything
	@$(PYTHON) -m deepmucs_utils.cli book --stored

# Tests build their own phantom, sets and runs, so that nothing old hides a fault.
TEST_CACHE := $(CURDIR)/_build/test-cache
# Two workers of one thread each: more threads than cores would wait for each other.
PYTEST := DEEPMUCS_CACHE=$(TEST_CACHE) $(PYTHON) -m pytest -n 2 --dist loadscope --durations 10 --durations-min 5
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 300 \
    --nbval-sanitize-with tests/notebooks/sanitise.cfg

test: lint  ## check style, run all tests, and run the notebooks and compare their stored outputs
	rm -rf $(TEST_CACHE)
	OMP_NUM_THREADS=1 $(PYTEST) tests deepmucs_utils --doctest-modules
	$(PYTEST) notebooks $(NBVAL)

check: lint  ## check style, and run the fast tests: under a minute
	OMP_NUM_THREADS=1 $(PYTEST) tests deepmucs_utils --doctest-modules -m "not slow and not sample and not gpu"

# Outputs and counts are stored, volatile metadata are not; the same in .pre-commit-config.yaml.
NBSTRIPOUT := --keep-output --keep-count \
    --extra-keys "metadata.language_info.version cell.metadata.execution"

notebooks: setup  ## execute all notebooks from clean kernels and store their outputs
	$(PYTHON) -m jupyter execute --inplace notebooks/*.ipynb
	$(PYTHON) -m nbstripout $(NBSTRIPOUT) notebooks/*.ipynb
	$(PYTHON) -m deepmucs_utils.cli book --picture

run: setup  ## one set: make run SET=DeepMuCS800 ROOT=… [CULTURES=A172,…] [MODEL=…] [ITERATIONS=…] [FRACTION=…] [BATCH=…] [WEIGHTS=…] [PROCESSES=…]
	@$(PYTHON) -m deepmucs_utils.cli run --set "$(or $(SET),$(error SET is missing: make run SET=Demo40))" \
	    $(if $(ROOT),--root "$(ROOT)") $(if $(MODEL),--model $(MODEL)) \
	    $(if $(CULTURES),--cultures $(CULTURES)) $(if $(FRACTION),--fraction $(FRACTION)) \
	    $(if $(ITERATIONS),--iterations $(ITERATIONS)) $(if $(BATCH),--batch $(BATCH)) \
	    $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(PROCESSES),--processes $(PROCESSES))

lab: setup  ## open the notebooks in JupyterLab
	@$(PYTHON) -m jupyter lab notebooks

studies: setup  ## list the studies and run those without a stored result: make studies [STUDY=realism] [ROOT=…]
	@$(PYTHON) -m deepmucs_utils.cli studies $(or $(STUDY),--missing) $(if $(ROOT),--root "$(ROOT)")

gpu: setup  ## measure what only a GPU can show, in pieces of a few minutes; it resumes
	@$(PYTHON) -m deepmucs_utils.cli gpu

bench: setup  ## measure the speed of the parts
	@$(PYTHON) -m benchmarks

# Command lines, examples and notebooks are prose too.
PROSE := deepmucs_utils tests benchmarks book notebooks $(wildcard *.md)

lint: setup  ## check style, format and spelling
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m codespell_lib $(PROSE)

clean:  ## remove what was built; runs, data and the environment stay
	rm -rf _build
