PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: help setup test test-all test-quick test-oldest lint reproduce report redraw site image wheel audit requirements clean

help:  ## What there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(VENV)/.done  ## The environment, from the pinned requirements.txt.

$(VENV)/.done: requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

test: setup  ## The tests of the library: those that are not marked system.
	$(BIN)/python $(PYTEST) -m "not system"

test-all: setup  ## All tests.
	$(BIN)/python $(PYTEST)

test-quick: setup  ## The tests that are not marked slow or system: two minutes.
	$(BIN)/python $(PYTEST) -m "not slow and not system"

test-oldest:  ## The quick tests on the oldest releases that pyproject.toml allows, in an environment of their own.
	$(PYTHON) -m venv --clear $(VENV)-oldest
	$(VENV)-oldest/bin/pip install --quiet uv
	$(VENV)-oldest/bin/uv pip install --quiet --python $(VENV)-oldest --resolution lowest-direct --editable ".[dev,serve]"
	$(VENV)-oldest/bin/python $(PYTEST) -m "not slow and not system" -o filterwarnings=

lint: setup  ## Lint, format, types, and which module may import which.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

reproduce: setup  ## Figure 3, quick: a plot, a record and a table in results/.
	$(BIN)/inc reproduce figure_3

report: setup  ## docs/results.md, from the records in docs/results/.
	$(BIN)/inc report

redraw: setup  ## Tables and plots of docs/results from their records, and the tables in the pages.
	$(BIN)/python docs/redraw.py

site: report  ## The documentation in site/, from docs/, the records and the docstrings.
	$(BIN)/pip install --quiet --constraint requirements.txt --editable ".[docs]"
	$(BIN)/mkdocs build --quiet --strict

wheel: setup  ## The wheel in dist/, installed into an empty environment and run from elsewhere.
	rm -rf build dist $(VENV)-wheel
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/pip install --quiet --constraint requirements.txt dist/*.whl
	cd / && $(CURDIR)/$(VENV)-wheel/bin/inc checkpoints verify digits-classifier digits-vae
	cd / && $(CURDIR)/$(VENV)-wheel/bin/inc reproduce --help

audit: setup  ## Known vulnerabilities of the dependencies, and a bill of materials in dist/sbom.json.
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit cyclonedx-bom
	mkdir -p dist
	$(VENV)-audit/bin/cyclonedx-py environment --output-file dist/sbom.json $(VENV)
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement requirements.txt

image: ## The Docker image without a daemon, and its reproduction run in it; needs root, buildah and debootstrap.
	docker/build-without-daemon.sh

requirements: ## requirements.txt, from the ranges in pyproject.toml; needs uv.
	uv pip compile pyproject.toml --extra serve --extra dev --python-version 3.11 --universal --no-annotate --quiet \
		--custom-compile-command "make requirements" --output-file requirements.txt

clean:  ## Remove the environment and what tests and lint leave behind.
	rm -rf $(VENV)* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
