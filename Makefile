# From a fresh machine with only Python 3.11 to tests and the demo.
#   make demo       toy corpus, warm start, teacher, three students, comparison (minutes, CPU)
#   make demo-images  scikit-learn's digits: a teacher, five losses, table and plots (minutes, CPU)
#   make test       quick tests        make test-slow  the minutes-long ones
#   make test-robustness   of those, the kills, broken files, full disks
#   make mutants    the share of one-line changes of the sources that the tests notice (about half an hour)
#   make lint       ruff and mypy
#   make docs       the documentation, into build/docs
#   make gpu        everything that needs a GPU, within half an hour, into benchmarks/out/gpu; GPU="--data cifar10:DIR"
#   make bench      speed, memory and error in small sizes (about ten minutes); bench-full: every size (hours)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH_READY := $(VENV)/bench-ready
MUTANTS_READY := $(VENV)/mutants-ready
DOCS_READY := $(VENV)/docs-ready
# Where torch comes from, if not from pip's default index.
TORCH_INDEX ?=
# Options of `make mutants`, as `--sample 50 --only core/teaching`.
MUTANTS ?=
# Options of `make gpu`.
GPU ?=
DEMO_OUT ?= runs/toy
DEMO_IMAGES_OUT ?= runs/digits
# One worker a core, each file's tests in one of them; every worker takes up to a gigabyte of memory.
SPREAD := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-images test test-slow test-robustness mutants lint docs gpu bench bench-full clean

demo: $(READY)
	recipes/toy.sh --python $(BIN)/python --out $(DEMO_OUT)

demo-images: $(READY)
	recipes/digits.sh --python $(BIN)/python --out $(DEMO_IMAGES_OUT)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' $(SPREAD)

mutants: $(MUTANTS_READY)
	$(BIN)/python -m tests.mutation $(MUTANTS)

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(SPREAD)

test-robustness: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(SPREAD) tests/robustness

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_READY)
	$(BIN)/python -m documentation.figure
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the documentation is in build/docs: open build/docs/index.html, or run $(BIN)/python -m mkdocs serve"

gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu $(GPU)

bench: $(BENCH_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-full: $(BENCH_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --full

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	touch $@

$(MUTANTS_READY): $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mutants]'
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@

# torch goes first: building or checking fairseq against another torch would install two. On Linux, pip's default is a
# build for CUDA, of gigabytes; TORCH_INDEX=… takes it from the index of CPU builds that pytorch.org names.
$(READY): pyproject.toml constraints.txt
	@echo "installing torch, fairseq and this package into $(VENV): a minute or several"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
