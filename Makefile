# `make` alone says what there is. Everything happens in a private environment, .venv; nothing is installed elsewhere.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test test-docker check format bench docs real canary clean

VENV ?= .venv
BIN := $(VENV)/bin
CANARY := $(VENV)-canary
# Where sandboxes of `make demo` run; empty: on this machine, without any container engine.
BACKEND ?=
# How many processes run the tests: one more than most machines of CI have processors, for much of a test is waiting.
JOBS ?= 3
# More arguments for pytest, as in: make test ARGS="-k merge -x"
ARGS ?=

help:  ## what there is
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed$(addprefix -,$(filter docker modal gcp,$(BACKEND)))  ## the whole job on the bundled dataset, and its report (BACKEND=name: somewhere else)
	@$(BIN)/cooperbench demo $(if $(BACKEND),--backend $(BACKEND))

test: $(VENV)/.installed-test  ## the tests (ARGS="-k word": some of them)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not real and not live and not scale" $(ARGS)

test-docker: $(VENV)/.installed-test  ## the docker backend on real engines; starts a dockerd if none answers (needs root then)
	CI=true sh tests/docker/with_engine.sh $(BIN)/python -m pytest tests/docker tests/unit/docker tests/contract/test_checks.py -k "docker or podman" $(ARGS)

check: $(VENV)/.installed-dev  ## types, style, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find src tests bench .ci -type f \( -name '*.sh' -o -path .ci/run \) ! -path '*/eval/judge/*' ! -path '*/gcp/agent/*' -print0 | xargs -0 $(BIN)/shellcheck
	cat $(addprefix src/cooperbench/eval/judge/,judge.sh git.sh merge.sh suite.sh main.sh) | $(BIN)/shellcheck -s sh -
	cat $(addprefix src/cooperbench/eval/backends/gcp/agent/,storage.sh box.sh sandbox.sh batch.sh main.sh) | $(BIN)/shellcheck -s sh -

format: $(VENV)/.installed-dev  ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-test  ## the benchmarks, one table each
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit; done

docs: $(VENV)/.installed-test  ## run every snippet of the documentation
	$(BIN)/python -m pytest tests/docs $(ARGS)

real: $(VENV)/.installed-test  ## two published tasks, rebuilt from source archives, judged whole (needs the package index)
	$(BIN)/python -m pytest tests/real -m real $(ARGS)

# What is coming, and not what is here: a release that breaks us is to be known of, and is no reason to stop a change.
canary: $(CANARY)/.installed  ## the modal backend against the newest release of Modal's client, whatever pyproject.toml allows
	@$(CANARY)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade modal
	@echo "canary: modal $$($(CANARY)/bin/python -c 'import importlib.metadata as m; print(m.version("modal"))'); $$(\
	  $(CANARY)/bin/python -m pip check | grep '^cooperbench .* modal' || echo 'pyproject.toml allows it')"
	$(CANARY)/bin/python -m pytest tests/modal tests/unit/modal tests/contract/test_checks.py -k modal $(ARGS)

clean:  ## remove the environment and caches; runs in logs/ stay
	rm -rf $(VENV) $(CANARY) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest Python that will do. A venv made by another Python is made anew.
$(VENV)/bin/python:
	@python=; for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "cooperbench needs Python 3.11 or newer: none found as python3, python3.11 … python3.14" >&2; exit 1; fi; \
	command -v git >/dev/null || { echo "cooperbench needs git: install it (Debian: apt-get install git)" >&2; exit 1; }; \
	$$python -m venv --clear $(VENV) || { rm -rf $(VENV); echo "cannot make a virtual environment with $$python (Debian: apt-get install python3-venv)" >&2; exit 1; }

# Each stamp installs what its targets need, once; pyproject.toml alone makes it stale.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-docker $(VENV)/.installed-modal $(VENV)/.installed-gcp: $(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(VENV)/.installed $@

$(CANARY)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m venv --clear $(CANARY)
	@$(CANARY)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/.installed $(VENV)/.installed-test $@
