# Two commands do all set-up: `make up` runs the main job, `make test` passes the tests.
#   make up [TAPE=PATH [FORMAT=NAME]] [SOURCE=ticks_raw DSN=...] [BROKER=kafka] [SPEED=60] [SEED=7] [EXIT_AFTER_SIGNALS=50]
PYTHON ?= python3
NPM ?= npm
VENV := .venv
BIN := $(VENV)/bin
PAGE := frontend/out/.built
PAGE_SOURCES := $(shell find frontend -type f -not -path '*/node_modules/*' -not -path '*/.next/*' -not -path '*/out/*' 2>/dev/null)
MARKS := $(VENV)/.marks

.PHONY: up down status test check lint test-recovery soak clean env-up env-test page
.DEFAULT_GOAL := help

help:
	@sed -n '1,2p' Makefile | sed 's/^# //'
	@echo 'make up | down | status | test | check | lint | test-recovery | soak | clean'

up:
	@$(MAKE) --no-print-directory -j2 env-up page
	@$(BIN)/tapelab up $(if $(TAPE),--tape '$(TAPE)') $(if $(FORMAT),--format $(FORMAT)) $(if $(SOURCE),--source $(SOURCE)) \
	  $(if $(DSN),--dsn '$(DSN)') $(if $(BROKER),--broker $(BROKER)) $(if $(SPEED),--speed $(SPEED)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(EXIT_AFTER_SIGNALS),--exit-after-signals $(EXIT_AFTER_SIGNALS) --json)

down status:
	@$(BIN)/tapelab $@

test: env-test page
	@$(BIN)/python tests/run.py all

check: env-test
	@$(BIN)/python tests/run.py check

lint: env-test
	@$(BIN)/python tests/run.py lint

# At least 200 kills and the long forms of the other tests of recovery; SEED=N replays a run's faults.
test-recovery: env-test
	@$(if $(SEED),TAPELAB_RECOVERY_SEED=$(SEED)) $(BIN)/python tests/run.py recovery

#   make soak [MINUTES=60] [BROKER=kafka|embedded] [SEED=N]
soak: env-test
	@$(BIN)/python -m tests.recovery.soak --minutes $(or $(MINUTES),60) $(if $(BROKER),--broker $(BROKER)) $(if $(SEED),--seed $(SEED))

# The empty recipes keep make from saying that there is nothing to be done.
env-up: $(MARKS)/up ; @:
env-test: $(MARKS)/test ; @:
page: $(PAGE) ; @:

$(MARKS)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"tapelab needs Python 3.11 or newer, got {v.major}.{v.minor}; set PYTHON=/path/to/python3.11")'
	@echo '== environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(MARKS) && touch $@

# The test extra holds everything the up extra does, so one mark serves both.
$(MARKS)/up: $(MARKS)/venv pyproject.toml constraints.txt
	@test -f $(MARKS)/test && test $(MARKS)/test -nt constraints.txt && test $(MARKS)/test -nt pyproject.toml \
	  || { echo '== installing tapelab[up]'; $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[up]'; }
	@touch $@

$(MARKS)/test: $(MARKS)/venv pyproject.toml constraints.txt
	@echo '== installing tapelab[test]'
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(PAGE): $(PAGE_SOURCES)
	@command -v $(NPM) >/dev/null || { echo 'the page needs Node 20 or newer with npm, got none; install it or set NPM=/path/to/npm'; exit 1; }
	@echo '== building the page'
	@cd frontend && $(NPM) ci --no-audit --no-fund && $(NPM) run build
	@touch $@

clean:
	rm -rf $(VENV) .run .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis test-artifacts frontend/node_modules frontend/.next frontend/out
