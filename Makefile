.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin

# Tests start the program some hundred times. Where it may keep no bytecode, each start compiles it first.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.dev ## Make .venv from the locks

.venv/.runtime: requirements.lock pyproject.toml
	@scripts/setup.sh runtime

.venv/.dev: requirements-dev.lock .venv/.runtime
	@scripts/setup.sh dev

.PHONY: demo
demo: .venv/.runtime ## See job events become webhooks
	@$(BIN)/dispatcher demo

.PHONY: serve
serve: .venv/.runtime ## Run the service
	@$(BIN)/dispatcher serve

.PHONY: check
check: .venv/.dev ## Check style, types, the direction of imports, and docker-compose.yml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy dispatcher tests benchmarks
	$(BIN)/lint-imports --no-logo
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

.PHONY: test
test: .venv/.dev ## Run the tests, with private RabbitMQ and PostgreSQL servers
	@scripts/servers.sh
	$(BIN)/pytest -n 3 -m "not long" $(ARGS)

.PHONY: coverage
coverage: .venv/.dev ## Run the tests with coverage of lines and branches; fail under the floor
	@scripts/servers.sh
	$(BIN)/pytest -n 3 -m "not long" --cov --cov-report=term $(ARGS)

.PHONY: test-all
test-all: coverage ## Run every test, those that take long too, with coverage of the others (an hour)
	@scripts/servers.sh all
	$(BIN)/pytest -n 3 -m long $(ARGS)

.PHONY: test-tethys
test-tethys: .venv/.dev ## Test against a real Tethys portal, in a separate environment
	$(BIN)/pytest tests/compat/tethys/test_portal.py $(ARGS)

.PHONY: dist
dist: .venv/.dev ## Build wheel and sdist, and try the wheel in bare environments
	@scripts/dist.sh

.PHONY: bench
bench: .venv/.dev ## Measure everything against its floor (ten minutes)
	@scripts/servers.sh
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak: .venv/.dev ## Run two owners, one hostile, beside faults (MINUTES=30): nothing lost, nothing grows
	@scripts/servers.sh
	$(BIN)/python -m benchmarks.endurance $(or $(MINUTES),2) $(ARGS)

.PHONY: kills
kills: .venv/.dev ## Kill processes and servers under load (MINUTES=30)
	@scripts/servers.sh
	SOAK_MINUTES=$(or $(MINUTES),2) $(BIN)/pytest -q -s tests/e2e/test_soak.py -k kills $(ARGS)

.PHONY: format
format: .venv/.dev ## Put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: .venv/.dev ## Update the locks to the newest releases
	@scripts/lock.sh --upgrade

.PHONY: clean
clean: ## Remove .venv and everything else that can be made again
	rm -rf .venv .venv-* .coverage .coverage.* build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
