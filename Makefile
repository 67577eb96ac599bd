# The only entry to the project. `make` alone lists the goals.
#
# Everything is built into target/, .venv/ and .cache/; `make clean` removes them. As root on a machine without a user
# session, containers run inside a private host (tests/host/README.md); elsewhere directly.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
CACHE := $(abspath $(or $(TEROK_TEST_CACHE),.cache))
export TEROK_TEST_CACHE := $(CACHE)
# Debian's libssl serves SQLCipher here; wheels for release carry their own copy (make wheel RELEASE=1).
export OPENSSL_NO_VENDOR := 1
export TEROK_BUILD_PROFILE := $(if $(RELEASE),dist,release)

SOURCES := $(shell git ls-files -co --exclude-standard -- src python build_backend data Cargo.toml Cargo.lock pyproject.toml)

.PHONY: help demo test room test-rust test-python check bench wheel dev adopt docs locks clean packages cargo

help:
	@echo "make demo    an AI agent edits a repository inside a hardened, supervised container"
	@echo "make test    everything: Rust, Python on the installed wheel, real Podman"
	@echo "make check   formatting, lints, licences, guards, type stubs"
	@echo "make bench   the figures, each beside what it is compared with"
	@echo "make wheel   the wheel, in dist/ (RELEASE=1: optimised as a whole)"
	@echo "make dev     the wheel installed into .venv"
	@echo "make adopt   the stock TUI and CLI over it: .venv/bin/terok, terok-tui, terok-web"
	@echo "make docs    docs/reference/, from what the program knows"
	@echo "make locks   the lock files of what agent images take from npm and PyPI, renewed"
	@echo "make clean   remove everything that was built"

packages:
	@tests/host/install-packages build containers images

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or newer (rustup), then try again" >&2; exit 3; }

$(BIN)/.tools: requirements-dev.txt | packages
	@echo "==> python environment"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

dist/.built: $(SOURCES) $(BIN)/.tools | cargo
	@echo "==> wheel ($(TEROK_BUILD_PROFILE) build; minutes the first time)"
	@rm -rf dist
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@touch $@

$(BIN)/.installed: dist/.built
	@$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	@touch $@

# The stock TUI and CLI over our library; pip knows where packages come from. The wheel is fetched once.
FRONT_ENDS := 0.8.0
FRONT_WHEEL := $(CACHE)/front-ends/terok-$(FRONT_ENDS)-py3-none-any.whl

$(FRONT_WHEEL): | $(BIN)/.tools
	@echo "==> front ends $(FRONT_ENDS)"
	@$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.12 \
		--dest $(dir $@) terok==$(FRONT_ENDS)

$(BIN)/.front-ends: $(BIN)/.installed $(FRONT_WHEEL)
	@$(BIN)/python -m terok.adopt --from $(FRONT_WHEEL)
	@touch $@

wheel: dist/.built
	@ls -l dist/*.whl

dev: $(BIN)/.installed

adopt: $(BIN)/.front-ends

demo: dev
	@demo/run $(DEMO_ARGS)

# Both parts, whatever becomes of the first: a run is to show everything that is wrong.
test: room
	@status=0; $(MAKE) --no-print-directory test-rust || status=$$?; \
		$(MAKE) --no-print-directory test-python || status=$$?; exit $$status

room:
	@tests/host/room build containers || [ "$${CI:-}" != true ]

test-rust: | packages cargo
	@tests/host/install-packages
	@echo "==> Rust"
	@mkdir -p $(CACHE) && rm -f $(CACHE)/kills.jsonl
	@TEROK_KILL_FIGURES=$(CACHE)/kills.jsonl cargo test --locked --workspace --exclude terok-py --no-fail-fast

test-python: dev adopt
	@tests/host/install-packages
	@tests/host/run-tests

check: dev
	@tests/host/install-packages host
	@tools/check

locks: | $(BIN)/.tools
	@$(BIN)/python tools/locks.py

docs: dev
	@$(BIN)/python tools/reference.py
	@$(BIN)/python tools/improvements.py
	@$(BIN)/python tools/security.py

bench: dev
	@benches/run

clean:
	@tests/host/sweep || true
	rm -rf target dist $(VENV) $(CACHE) .pytest_cache .mypy_cache .ruff_cache python/terok_native/bin python/terok_native/_lib*.so
