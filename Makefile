.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.dev ## Make .venv from the locks

$(VENV)/.runtime: requirements.lock pyproject.toml
	@scripts/setup.sh runtime

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@scripts/setup.sh dev

.PHONY: lock
lock: $(VENV)/.dev ## Write the locks anew with the newest releases
	@scripts/lock.sh --upgrade
