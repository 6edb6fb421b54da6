# Tritforge. `make help` lists what a person types. Every target sets up what it needs in .venv by itself.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check

# Defaults: of MODEL here, of everything else in `python -m energy sim --help`.
MODEL ?= llama2-7b
STUDY ?= studies/array_and_memory.yaml

VARIABLES := PYTHON MODEL STUDY ARRAY MEMORY COSTS PREFILL DECODE BATCH METHOD METHODS TEXT CALIB DEVICE BOARD LIB OUT JSON ARGS
given := $(foreach word,$(MAKEOVERRIDES),$(if $(findstring =,$(word)),$(firstword $(subst =, ,$(word)))))
unknown := $(filter-out $(VARIABLES),$(given))
ifneq ($(unknown),)
$(error unknown option $(firstword $(unknown)); known options: $(VARIABLES))
endif

# $(call option,NAME,--flag) passes --flag 'value' when NAME was given.
option = $(if $($(1)),$(2) '$($(1))')
switch = $(if $($(1)),$(2))

.DEFAULT_GOAL := help
.PHONY: help sim quant verilog bitstream gates whatif compare demo models costs test test-slow test-rtl test-nojit test-bounds lint bench bench-quant docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
	@echo "options: $(VARIABLES)"

sim: $(VENV)/.core ## simulate MODEL on ARRAY and MEMORY beside INT8 and FP16 baselines; report in build/sim/
	@extras=$$($(PY) -m quant extras --model '$(MODEL)') || exit 2; \
	if [ -n "$$extras" ]; then $(MAKE) -s --no-print-directory $(VENV)/.quant || exit 2; fi; \
	$(PY) -m energy sim --model '$(MODEL)' $(call option,ARRAY,--array) $(call option,MEMORY,--memory) \
	  $(call option,COSTS,--costs) $(call option,PREFILL,--prefill) $(call option,DECODE,--decode) \
	  $(call option,BATCH,--batch) $(call option,METHOD,--method) $(call option,TEXT,--text) \
	  $(call option,CALIB,--calib) $(call option,DEVICE,--device) $(call option,OUT,--out) \
	  $(call switch,JSON,--json) $(ARGS)

quant: $(VENV)/.quant ## quantize MODEL by METHOD: packed checkpoint, manifest, perplexity before and after
	@$(PY) -m quant quantize --model '$(MODEL)' $(call option,METHOD,--method) $(call option,TEXT,--text) \
	  $(call option,CALIB,--calib) $(call option,DEVICE,--device) $(call switch,JSON,--json) $(ARGS)

verilog: $(VENV)/.hw ## Verilog of ARRAY=RxC, or of an array that fits BOARD with its top level and constraints
	@$(PY) -m hw verilog $(call option,BOARD,--board) $(call option,ARRAY,--array) $(call option,OUT,--out) \
	  $(call switch,JSON,--json) $(ARGS)

bitstream: $(VENV)/.boards ## place and route for BOARD: bitstream, timing and resource table
	@$(PY) -m hw bitstream $(call option,BOARD,--board) $(call option,ARRAY,--array) $(call option,OUT,--out) \
	  $(call switch,JSON,--json) $(ARGS)

gates: $(VENV)/.hw ## area, timing and energy of ARRAY in the cells of LIB=file.lib[.gz]
	@$(PY) -m hw gates $(call option,ARRAY,--array) $(if $(LIB),--lib $(LIB)) $(call switch,JSON,--json) $(ARGS)

whatif: $(VENV)/.core ## simulate every combination of STUDY; Pareto front and plot in build/whatif/
	@$(PY) -m energy whatif --study '$(STUDY)' $(call option,OUT,--out) $(call switch,JSON,--json) $(ARGS)

compare: $(VENV)/.quant ## METHODS of quantization on MODEL: accuracy beside bits beside energy and latency
	@$(PY) -m energy compare --model '$(MODEL)' $(call option,METHODS,--methods) $(call option,TEXT,--text) \
	  $(call option,CALIB,--calib) $(call option,DEVICE,--device) $(call option,ARRAY,--array) \
	  $(call option,MEMORY,--memory) $(call option,COSTS,--costs) $(call option,OUT,--out) \
	  $(call switch,JSON,--json) $(ARGS)

demo: $(VENV)/.quant $(VENV)/.hw ## MODEL=file.bin (llama2.c) writes on the compiled RTL; cycles beside the simulator's
	@$(PY) -m sim demo --model '$(MODEL)' $(call option,ARRAY,--array) $(call switch,JSON,--json) $(ARGS)

models: $(VENV)/.core ## the models known by name
	@$(PY) -m quant models $(call switch,JSON,--json)

costs: $(VENV)/.core ## the cost tables and their sources
	@$(PY) -m energy costs $(call switch,JSON,--json)

test: $(VENV)/.test ## everything that a fresh machine needs, then the suite
	@$(PY) -m pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.test ## the longer tests
	@$(PY) -m pytest -m slow $(ARGS) || [ $$? -eq 5 ] # 5: no slow tests

test-rtl: $(VENV)/.test ## the gateware's tests
	@$(PY) -m pytest tests/hw $(ARGS)

test-nojit: $(VENV)/.test ## the kernels' tests without compilation
	@NUMBA_DISABLE_JIT=1 $(PY) -m pytest -m "kernels and not slow" $(ARGS)

test-bounds: $(VENV)/.test ## the kernels' tests with bounds checks
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/numba-bounds $(PY) -m pytest -m "kernels and not slow" $(ARGS)

lint: $(VENV)/.test ## ruff, the import order, and the types of the vocabulary files
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/mypy

bench: $(VENV)/.core ## speed as ratios in one run
	@$(PY) -m sim bench $(call switch,JSON,--json) $(ARGS)

bench-quant: $(VENV)/.quant ## time and memory of quantizing MODEL by METHOD on DEVICE: its dimensions, random weights
	@$(PY) -m quant bench --model '$(MODEL)' $(call option,METHOD,--method) $(call option,DEVICE,--device) \
	  $(call switch,JSON,--json) $(ARGS)

docs: $(VENV)/.hw ## the generated tables and pictures of README and docs
	@$(PIP) -e '.[docs]' && $(PY) -m energy docs && $(PY) -m sim docs && \
	$(PY) -m hw gates --document && $(PY) -m hw resources --docs && $(PY) -m hw wave --docs && $(PY) -m hw diagram --docs && $(PY) -m hw boards --docs

clean: ## remove build/ (results, caches, fetched weights), not .venv
	@rm -rf build

# --- set-up: each stamp is one set of packages ---

$(VENV)/.base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) must be Python 3.11 or newer; give another with PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call apt,python3-venv)
	@echo "setting up $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.base pyproject.toml
	@echo "installing the core packages (once, about half a minute)" >&2
	@$(PIP) -e . && touch $@

$(VENV)/.quant: $(VENV)/.core
	@echo "installing torch and transformers (once, a minute or two)" >&2
	@$(PIP) -e '.[quant]' && touch $@

$(VENV)/.hw: $(VENV)/.core
	@echo "installing the hardware tools (once)" >&2
	@$(PIP) -e '.[hw]' && touch $@

$(VENV)/.boards: $(VENV)/.hw
	@echo "installing place and route (once)" >&2
	@$(PIP) -e '.[hw,boards]' && touch $@

$(VENV)/.test: $(VENV)/.quant $(VENV)/.hw
	@command -v iverilog >/dev/null || $(call apt,iverilog)
	@echo "installing the test tools (once)" >&2
	@$(PIP) -e '.[quant,hw,test]' && touch $@

# $(call apt,PACKAGE) installs a Debian package as root or through sudo, or says in one line what is missing.
apt = { echo "installing the Debian package $(1)" >&2; \
  sudo=$$([ $$(id -u) = 0 ] || echo "sudo -n"); \
  { $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1); } >/dev/null 2>&1 || \
  { echo "error: the Debian package $(1) is missing and could not be installed; run: sudo apt-get install $(1)" >&2; exit 2; }; }
