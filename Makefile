# Every target sets up what it needs in .venv; Python 3.11 or later, git and make are enough to begin with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find consent_middleware -type f -not -name '*.pyc')

.PHONY: demo test test-lowest lint bench bench-servers soak crash records-scale clean

demo: .make/installed
	$(BIN)/python examples/demo.py

# The tests run against the installed wheel: with the safe path no Python that they start finds this folder.
# In the order of the folders those with browsers, which take longest, come first, and short ones fill up the end.
test: export PYTHONSAFEPATH = 1
test: export CONSENT_TEST_INSTALLED = 1
test: .make/installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# The same for every dependency at its lowest version, without browsers, servers, other programs and killed processes.
LOWEST := .venv-lowest/bin
test-lowest: export PYTHONSAFEPATH = 1
test-lowest: .make/lowest
	$(LOWEST)/pip install -q --disable-pip-version-check --no-deps --force-reinstall .
	$(LOWEST)/pytest -n auto --dist loadfile --no-loadscope-reorder -p no:cacheprovider tests/catalogue tests/cli tests/core tests/pages \
		tests/records tests/registry_file $(wildcard tests/test_*.py) --ignore tests/records/test_crash.py

lint: .make/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# `MEMORY=3000000` watches memory over so many requests too.
bench: .make/installed
	$(BIN)/python benchmarks/overhead.py $(if $(MEMORY),--memory $(MEMORY))

# Behind uvicorn, and behind gunicorn and granian where they are installed in .venv.
bench-servers: .make/installed
	$(BIN)/python benchmarks/servers.py

# Lets every browser and client that the machine has judge generated lines.
soak: .make/installed
	$(BIN)/python tests/soak/run.py --lines $(or $(LINES),200000)

# Both take `RECORDS`, the URL of an empty store, and need minutes.
crash: .make/installed
	$(BIN)/python tests/records/crash.py --records $(or $(RECORDS),sqlite:///.make/crash.db) --rounds 200
	$(BIN)/python tests/records/web_crash.py --records $(or $(RECORDS),sqlite:///.make/web-crash.db) --rounds 200

records-scale: .make/installed
	$(BIN)/python benchmarks/records_scale.py --records $(or $(RECORDS),sqlite:///.make/scale.db)

.make/installed: .make/dependencies $(SOURCES)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall .
	@touch $@

.make/dependencies: pyproject.toml
	@mkdir -p .make
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/pip install -q --disable-pip-version-check --group test --group quality .
	@touch $@

.make/lowest: pyproject.toml .ci/lowest.py
	@mkdir -p .make
	test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python .ci/lowest.py > .make/lowest.txt
	$(LOWEST)/pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	$(LOWEST)/pip install -q --disable-pip-version-check --constraint .make/lowest.txt --group test .
	@touch $@

clean:
	rm -rf $(VENV) .venv-lowest .make build dist
