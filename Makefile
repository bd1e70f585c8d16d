# Two commands: `make train` and `make test`. Each sets up what it needs first; a second run skips what is done.
PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= configs/m2h/m2h_edge_lite0_rooms.py
WORK_DIR ?= work_dirs/$(basename $(notdir $(CONFIG)))

BIN   := $(VENV)/bin
READY := $(VENV)/.ready
PIP   := $(BIN)/python -m pip install -q --disable-pip-version-check -c requirements/constraints.txt

.PHONY: train test coverage docs wheel-check lint clean setup

train: setup  ## train CONFIG (go on with it, if it was interrupted), evaluate it and draw its predictions
	$(BIN)/python tools/train.py $(CONFIG) --work-dir $(WORK_DIR) --resume
	$(BIN)/python tools/test.py $(CONFIG) $(WORK_DIR) --work-dir $(WORK_DIR) --compare-constant \
	    --out $(WORK_DIR)/results.json --show-dir $(WORK_DIR)/pictures --overwrite

# The C library keeps what is freed for what comes next. To give large maps back to the system and to
# take them again is a third of the processor's time in tests that train with large maps.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296

TESTS := OMP_NUM_THREADS=1 $(KEEP_MEMORY) $(BIN)/python -m pytest -n 2 --dist worksteal

test: setup  ## run the tests
	$(TESTS)

# Not part of `test`: to note each line that runs takes as long again as the tests.
coverage: setup  ## run the tests, and say which lines none of them runs
	$(TESTS) --cov --cov-report=term

wheel-check:  ## build the wheel and use it in a new environment, without this folder
	PYTHON=$(PYTHON) TORCH="$$(grep ^torch== requirements/constraints.txt)" tests/wheel.sh

lint: setup  ## style, line width, and the arrows between the rooms of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

docs: setup  ## build the site of the documentation into work_dirs/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

setup: $(READY)

# torch comes first and alone: resolved together with other packages, pip could replace it by another build. timm comes
# alone as well: it wants torchvision, whose builds at PyPI do not fit torch's build for CPUs, and does without.
$(READY): setup.py requirements/*.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -r requirements/onedl.txt
	$(PIP) -e .[dev]
	$(PIP) --no-deps -r requirements/timm.txt
	touch $(READY)

clean:  ## remove the environment and what trainings wrote
	rm -rf $(VENV) work_dirs
