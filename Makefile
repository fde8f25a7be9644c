# What can be done here? `make help`. Every target does its own set-up: a virtual environment in .venv with pinned
# requirements, the extension built into python/tokenloom. Stamps in .venv make a second run start at once.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The pins have wheels for CPython 3.11 to 3.13 (the demo's also for 3.14): those first. Override: make PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := .venv/bin
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Models and tokenizers come from the cache of scripts/fetch_assets.py; nothing here may ask a model hub.
export HF_HUB_OFFLINE := 1
unexport PYTHONPATH PYTHONHOME

RUST_SOURCES := $(shell find rust cuda -type f -not -path '*/target/*' 2>/dev/null) Cargo.toml Cargo.lock pyproject.toml
MARKDOWN_AND_CODE := python tests benches scripts

.PHONY: help setup build demo test test-heavy check fmt bench docs-check fuzz fuzz-definitions fuzz-ids sdist wheel package-check clean distclean

help: ## Show this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

setup: .venv/test-installed .venv/check-installed build ## Everything for development: .venv with all requirements, the extension built

build: .venv/built ## Build the extension (release) into python/tokenloom

demo: .venv/built ## The main job on a real model: generate, draft, constrain, heal, train (fetches 93 MB)
	$(BIN)/python scripts/fetch_assets.py smollm2
	$(BIN)/python -m tokenloom demo

test: .venv/test-installed .venv/built ## Rust tests, then Python tests (all but the heavy ones)
	cargo test --locked
	$(BIN)/python scripts/fetch_assets.py --default
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest

test-heavy: .venv/test-installed .venv/built ## The long sweeps (marker heavy; ignored Rust tests)
	cargo test --locked -- --ignored
	$(BIN)/python scripts/fetch_assets.py --all
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m heavy

check: .venv/test-installed .venv/check-installed .venv/built ## Format, lints, types, stubs, layers, sizes, links, docs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items --quiet
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest tokenloom._core --mypy-config-file pyproject.toml
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_layers.py
	$(BIN)/python scripts/check_size.py
	$(BIN)/python scripts/check_links.py
	find cuda -name '*.c[pu]*' -o -name '*.h' | xargs -r $(BIN)/clang-format --dry-run -Werror

fmt: .venv/check-installed ## Format everything
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	find cuda -name '*.c[pu]*' -o -name '*.h' | xargs -r $(BIN)/clang-format -i

bench: .venv/test-installed .venv/built ## Compare with the peers; writes benches/record/<date>-peers.{json,md}
	$(BIN)/python scripts/fetch_assets.py --default
	OMP_NUM_THREADS=1 $(BIN)/python -m benches --record peers

fuzz: ## Fuzz every parser for a minute each (needs the nightly Rust toolchain; `make test` does not)
	scripts/fuzz.sh $${FUZZ_SECONDS:-60}

fuzz-definitions: .venv/test-installed .venv/built ## Compare random tokenizer.json files with the peer, FUZZ_SECONDS long (prints the seed)
	$(BIN)/python scripts/fuzz_definitions.py --seconds $${FUZZ_SECONDS:-300}

fuzz-ids: .venv/test-installed .venv/built ## Compare ids with the peers on random texts, FUZZ_SECONDS long (prints the seed)
	$(BIN)/python scripts/fetch_assets.py --all
	$(BIN)/python scripts/fuzz_ids.py --seconds $${FUZZ_SECONDS:-300}

docs-check: .venv/test-installed .venv/built ## Run every example in README, docs and docstrings; check links
	$(BIN)/python scripts/check_links.py
	$(BIN)/python -m pytest tests/docs

sdist: .venv/demo-installed ## Build the source distribution into dist/
	$(BIN)/maturin sdist --out dist

wheel: .venv/demo-installed ## Build the wheel into dist/
	$(BIN)/maturin build --release --out dist

package-check: .venv/demo-installed ## Install from the checkout, the sdist and the wheel, with build isolation (slow)
	$(BIN)/python scripts/check_package.py

clean: ## Remove what was built, keep .venv's packages
	cargo clean
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .venv/built
	find python -name '*.so' -delete
	find python tests benches scripts -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf .venv

.venv/made:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or newer on PATH, found none; hint: make PYTHON=/path/to/python" >&2; exit 1; }
	@cargo --version >/dev/null || { echo "expected a Rust toolchain (the version is in rust-toolchain.toml); hint: rustup toolchain install" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	touch $@

.venv/demo-installed: requirements/demo.txt .venv/made
	$(BIN)/python -m pip install -r requirements/demo.txt
	touch $@

.venv/test-installed: requirements/test.txt requirements/no-deps.txt .venv/demo-installed
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())' \
		|| { echo "expected Python's C headers (arctic-inference is built from source); hint: install python3-dev" >&2; exit 1; }
	$(BIN)/python -m pip install -r requirements/test.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -r requirements/no-deps.txt
	touch $@

.venv/check-installed: requirements/check.txt .venv/test-installed
	$(BIN)/python -m pip install -r requirements/check.txt
	touch $@

# Editable: the Python files are used where they lie, the binary is put beside them.
.venv/built: .venv/demo-installed $(RUST_SOURCES)
	$(BIN)/maturin develop --release
	touch $@
