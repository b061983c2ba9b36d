# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_DISK := .cache/images/debian-server.raw
IMAGE ?=
OUT ?= demo
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types unit bench system-packages docs screenshots clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(STAMP) ## convert a small real Debian server; IMAGE=path takes your own disk instead
	@[ -n "$(IMAGE)" ] || .ci/system-packages demo
	@$(BIN)/python -m tests.images.demo --out "$(OUT)" $(if $(IMAGE),"$(IMAGE)")

test: system-packages check ## install what tests need, then run everything that must hold

check: lint types unit ## formatting, lint, types and tests, with what is installed

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## rewrite the code in the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

# Commands that tests start are measured as an installed package starts: compiled, even where the
# environment keeps Python from writing bytecode.
unit: $(STAMP)
	@$(BIN)/python -m compileall -q convert formats
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope

bench: $(STAMP) ## ratios against the kernel and against libguestfs, measured in one run
	@.ci/system-packages bench
	@$(BIN)/python -m tests.bench

system-packages: ## install the Debian packages that the tests use as oracles (apt, root or sudo)
	@.ci/system-packages test

docs: $(STAMP) ## rewrite the generated parts of docs/
	$(BIN)/python -m docs.generate

screenshots: $(STAMP) ## take the pictures of docs/report.md anew
	@.ci/system-packages test
	@$(BIN)/python -m tests.images.screenshots

clean: ## remove everything that is not in git, cached images too
	rm -rf $(VENV) .cache demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(STAMP): pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
