# Everything runs in .venv, which the first call makes; later calls start at once.
# Needs: Python 3.11 or newer, make, git. Optional: a C++ compiler (DeepSpeed builds a small operator at first use).

VENV  := .venv
PY    := $(VENV)/bin/python
READY := $(VENV)/.ready
STEPS ?=
DATA  ?=
MODEL ?=
ARGS  ?=

# The first of these that is Python 3.11 or newer; choose another one with `make PYTHON=/path/to/python ...`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
UV_VERSION := 0.13.8
# What requirements.txt pins beside the core: what the quickstart and the tests use.
EXTRAS := embedded dev cluster raw web serve json
# Two at a time, file by file: tests of one file share what they set up. The longest ones wait for processes of their own.
PYTEST := $(PY) -m pytest --numprocesses 2 --dist loadfile

# Threads that wait in a loop for each other crawl when another process runs; let them sleep instead.
export OMP_WAIT_POLICY ?= PASSIVE
# DeepSpeed looks for ninja on the path.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup models quickstart test test-all lint format bench-ask bench-build bench-calibration bench-loader bench-mfe bench-mfe-quality bench-roi bench-rsa bench-rsa-quality bench-serve bench-startup bench-train bench-web wheel requirements clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=python3.12  STEPS=100 (a shorter quickstart)  DATA=DIR  MODEL=DIR  ARGS='--more options'"

setup: $(READY) ## make .venv and install the pinned requirements and the package

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one, or say where it is: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is no Python 3.11 or newer." >&2; exit 1; }
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip --upgrade
	@touch $@

# uv installs in a fraction of pip's time; where it cannot (no such wheel, or the index is set for pip alone), pip does it.
$(VENV)/.requirements: requirements.txt | $(VENV)/.made
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || echo "uv $(UV_VERSION) cannot be installed; using pip."
	$(PY) -m uv pip install --python $(PY) -r requirements.txt || $(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(READY): $(VENV)/.requirements pyproject.toml
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps -e . || $(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

models: $(READY) ## fetch the embedded models into the cache (done on demand otherwise)
	$(PY) -m seagull_tune.embedded

quickstart: $(READY) ## photographs -> data set -> tuned model -> measured report, in runs/quickstart
	$(VENV)/bin/seagull-tune quickstart $(if $(STEPS),--steps $(STEPS)) $(ARGS)

test: $(READY) ## run the tests (those that need what this machine lacks say so and skip)
	@$(PY) -m seagull_tune.embedded >/dev/null || echo "The tests that need the embedded models will skip."
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(READY) ## run all tests, also those of more than a minute
	@$(PY) -m seagull_tune.embedded >/dev/null || echo "The tests that need the embedded models will skip."
	$(PYTEST) $(ARGS)

lint: $(READY) ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY) ## let ruff format and sort imports
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench-roi: $(READY) ## train and measure the ROI model on DATA=DIR (images/ and regions/), into runs/bench-roi
	@test -n "$(DATA)" || { echo "Say where the photographs are: make bench-roi DATA=DIR (a folder with images/ and regions/)" >&2; exit 1; }
	$(PY) benchmarks/bench_roi.py --data "$(DATA)" --out runs/bench-roi $(if $(STEPS),--steps $(STEPS)) $(ARGS)

bench-calibration: $(READY) ## calibration error of MODEL=DIR before and after calibrating, on the test photographs of DATA=DIR
	@test -n "$(DATA)" || { echo "Say where the photographs are: make bench-calibration DATA=DIR (a folder with images/ and regions/)" >&2; exit 1; }
	$(PY) -m benchmarks.calibration --data "$(DATA)" $(if $(MODEL),--model "$(MODEL)") $(ARGS)
bench-ask: $(READY) ## the assessor against one region and task at a time (tuned model: MODEL=DIR, else the quickstart's)
	$(PY) -m benchmarks.ask_speed $(if $(MODEL),--model "$(MODEL)") $(ARGS)

bench-build: $(READY) ## measure how fast data sets are built and how small they are (photographs: DATA=DIR, else built in)
	$(PY) benchmarks/build_rate.py $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-train: $(READY) ## measure how many tokens a second are trained, with and without what makes it fast (photographs: DATA=DIR)
	$(PY) benchmarks/train_speed.py $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-loader: $(READY) ## measure how long training waits for the data loader (photographs: DATA=DIR, else built in)
	$(PY) benchmarks/dataloader_wait.py $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-mfe: $(READY) ## our feature extractor against the released one: time, memory, share of a training step
	$(PY) -m benchmarks.mfe_speed $(ARGS)

bench-mfe-quality: $(READY) ## what every part of the extractor is worth: three seeds on DATA=DIR (takes long; goes on where it was)
	@test -n "$(DATA)" || { echo "Say where the photographs are: make bench-mfe-quality DATA=DIR (a folder with images/ and regions/)" >&2; exit 1; }
	$(PY) -m benchmarks.mfe_quality --data "$(DATA)" $(if $(STEPS),--steps $(STEPS)) $(ARGS)

bench-rsa: $(READY) ## train a whole-image scorer on all of DATA=DIR (mos.csv, images/), described by MODEL=DIR, into runs/rsa
	@test -n "$(DATA)" || { echo "Say where the rated pictures are: make bench-rsa DATA=DIR (a folder with mos.csv and images/)" >&2; exit 1; }
	$(PY) -m benchmarks.bench_rsa --data "$(DATA)" $(if $(MODEL),--model "$(MODEL)") $(ARGS)

bench-rsa-quality: $(READY) ## what every part of the scorer is worth: five splits of DATA=DIR (takes long; goes on where it was)
	@test -n "$(DATA)" || { echo "Say where the rated pictures are: make bench-rsa-quality DATA=DIR (a folder with mos.csv and images/)" >&2; exit 1; }
	$(PY) -m benchmarks.rsa_quality --data "$(DATA)" $(if $(MODEL),--describer "$(MODEL)") $(ARGS)

bench-serve: $(READY) ## put the server under load: eight clients against one, a thousand good and bad requests
	$(PY) -m benchmarks.serve_load $(ARGS)

bench-startup: $(READY) ## time `import seagull_tune` and `seagull-tune --help`
	$(PY) benchmarks/startup.py

bench-web: $(READY) ## time the web page in the system's Chromium: first paint, numbers after a click (ARGS='--model DIR')
	$(PY) benchmarks/web_latency.py $(ARGS)

wheel: $(READY) ## build the wheel into dist/
	$(PY) -m uv build --wheel --out-dir dist || $(PY) -m pip wheel --no-deps --wheel-dir dist .

requirements: $(READY) ## resolve requirements.txt again from pyproject.toml (keeps pins that still fit)
	$(PY) -m uv pip compile pyproject.toml $(addprefix --extra ,$(EXTRAS)) --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.txt >/dev/null

clean: ## remove caches and builds (runs/ and .venv stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV)
