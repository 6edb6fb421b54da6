# Tritforge. `make help` lists what a person types. Every target sets up what it needs in .venv by itself.
# `make X NAME=value ...` is `tritforge X --name value ...`: the command knows its options and refuses any other.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
TRITFORGE := $(VENV)/bin/tritforge
PIP := $(PY) -m pip install -qq --disable-pip-version-check

# The variables that were given on make's command line, and those of them that are not make's own business.
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
options := $(sort $(filter-out PYTHON VENV ARGS MAKE% MFLAGS -%,$(given)))
# A recipe's environment would hold them expanded, with what $(shell ...) in a value does.
unexport $(options)
# $(call quoted,TEXT) is one word of the shell, whatever TEXT holds.
quoted = '$(subst ','\'',$(1))'
# What goes to the command: NAME=value for every option that has a value, then ARGS as it stands.
words = $(foreach name,$(options),$(if $(value $(name)),$(call quoted,$(name)=$(value $(name))))) $(ARGS)
# Refuse options of a target that has none.
plain = $(if $(options),$(error $(firstword $(options)) is no option of make $@, which takes $(or $(1),none)))

.DEFAULT_GOAL := help
.PHONY: help sim quant verilog bitstream gates whatif compare explore notebook claims demo list table run integer kv evaluate vocabulary rewrite export check-export task swap results budget microgpt workload replay mappings dram \
  references bench bench-study bench-quant host simulate boards memory machine resources vector disassemble wave diagram array-options completion docs docs-site \
  test test-fast test-slow test-rtl test-nojit test-bounds fuzz mutate lint sbom clean

help: ## this list; `make X NAME=value` is `tritforge X --name value`
	$(plain)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15
	@echo "options of a command: .venv/bin/tritforge COMMAND --help; ARGS='...' is passed on as it stands"

sim: $(VENV)/.core ## simulate MODEL on ARRAY and MEMORY beside INT8 and FP16 baselines; report in build/sim/
	@$(if $(value MODEL),extras=$$($(TRITFORGE) extras $(call quoted,MODEL=$(value MODEL))) || exit 2; \
	if [ -n "$$extras" ]; then $(MAKE) -s --no-print-directory $(VENV)/.quant || exit 2; fi;) \
	$(TRITFORGE) $@ $(words)

quant: $(VENV)/.quant ## quantize MODEL by METHOD: packed checkpoint, manifest, perplexity before and after
	@$(TRITFORGE) $@ $(words)

verilog: $(VENV)/.hw ## Verilog of ARRAY=RxC, or of an array that fits BOARD with its top level and constraints
	@$(TRITFORGE) $@ $(words)

bitstream: $(VENV)/.boards ## place and route for BOARD: bitstream, timing and resource table
	@$(TRITFORGE) $@ $(words)

gates: $(VENV)/.hw ## area, timing and energy of ARRAY in the cells of LIB=file.lib[.gz]
	@$(TRITFORGE) $@ $(words)

whatif: $(VENV)/.core ## measure every combination of STUDY; rows, Pareto front and plot in build/whatif/
	@$(TRITFORGE) $@ $(words)

compare: $(if $(value DESIGNS),$(VENV)/.core,$(if $(value MODELS),$(VENV)/.eval,$(VENV)/.quant)) ## METHODS of quantization on MODEL: accuracy, bits, energy, latency; on MODELS=A,B and TASKS too: scaling figures; or DESIGNS="A B" term by term
	@$(TRITFORGE) $@ $(words)

explore: $(VENV)/.core ## a local page on which sliders and choices redraw a design beside its rivals: PORT=8765
	@$(TRITFORGE) $@ $(words)

notebook: $(VENV)/.notebook ## a notebook from a model to a decision in ten cells, executed: OUT=decision.ipynb
	@$(TRITFORGE) $@ $(words)

claims: $(VENV)/.core ## where 91 % less compute energy and half of the latency hold, and where not
	@$(TRITFORGE) $@ $(words)

demo: $(VENV)/.quant $(VENV)/.hw ## MODEL=file.bin (llama2.c) writes on the compiled RTL; cycles beside the simulator's
	@$(TRITFORGE) $@ $(words)

list: $(VENV)/.core ## what is known by name: WHAT=models, arrays, memories, costs, methods, boards, studies, ...
	@$(TRITFORGE) $@ $(words)

table: $(VENV)/.studies ## finished results in SOURCE as one table OUT=file.parquet, .arrow or .csv: ROWS=ops, phases, ...
	@$(TRITFORGE) $@ $(words)

run: $(VENV)/.core ## one machine without baselines and energies: ops, causes, timeline
	@$(TRITFORGE) $@ $(words)

integer: $(VENV)/.quant ## MODEL in integers alone, embedding to greedy token: text, and perplexity on TEXT
	@$(TRITFORGE) $@ $(words)

program: $(VENV)/.quant ## MODEL as the image that the whole-token machine runs: weights, tables, sequences of operations
	@$(TRITFORGE) $@ $(words)

kv: $(VENV)/.quant ## MODEL over formats of K and V (KV='digits:4 kivi:2'), its own weights and RUNS: perplexity, worst head
	@$(TRITFORGE) $@ $(words)

evaluate: $(VENV)/.eval ## SOURCE, a model or a finished run, on TASKS with SHOTS examples and on texts TEXT, through lm-eval
	@$(TRITFORGE) $@ $(words)

vocabulary: $(VENV)/.quant ## embedding and head of MODEL in DIGITS ternary digits (ROLES), trained beside a float body: perplexity, bits
	@$(TRITFORGE) $@ $(words)

rewrite: $(VENV)/.quant ## other weights with the same function: MODEL, OUT, and ROTATE or BALANCE
	@$(TRITFORGE) $@ $(words)

export: $(VENV)/.quant ## a finished run of CHECKPOINT in FORMAT=hf, bitnet, gguf-tq2_0, ...: to folder OUT
	@$(TRITFORGE) $@ $(words)

check-export: $(VENV)/.runtimes ## CHECKPOINT beside its export in FORMAT, in transformers or llama.cpp: tokens, perplexity
	@$(TRITFORGE) $@ $(words)

task: $(VENV)/.quant ## rows of the finished run CHECKPOINT tuned to the text CALIB, trits frozen: a task vector OUT
	@$(TRITFORGE) $@ $(words)

swap: $(VENV)/.quant ## the run CHECKPOINT with the task vector TASK on the same trits: to folder OUT
	@$(TRITFORGE) $@ $(words)

microgpt: $(VENV)/.quant $(VENV)/.hw ## a tiny model of names trained in ternary, writing on the compiled RTL
	@$(TRITFORGE) $@ $(words)

budget: $(VENV)/.core ## cycles of a token on the whole-token machine, operation by operation
	@$(TRITFORGE) $@ $(words)

workload: $(VENV)/.core ## matrix products of MODEL's step PHASE as a file OUT in FORMAT=csv, scale-sim or zigzag
	@$(TRITFORGE) $@ $(words)

replay: $(VENV)/.quant ## the recorded pass of FOLDER on ARRAY: sums bit for bit, toggles
	@$(TRITFORGE) $@ $(words)

mappings: $(VENV)/.core ## cycles of a model's linears under every mapping
	@$(TRITFORGE) $@ $(words)

dram: $(VENV)/.core ## bandwidth of streams on every memory's banks
	@$(TRITFORGE) $@ $(words)

references: $(VENV)/.core ## this simulator against figures of other simulators and of a chip
	@$(TRITFORGE) $@ $(words)

results: $(VENV)/.core ## the table of committed quantization results
	@$(TRITFORGE) $@ $(words)

bench: $(VENV)/.core ## speed of the simulator and of studies as ratios in one run
	@$(TRITFORGE) $@ $(words)
	@$(if $(findstring --json,$(words)),,$(TRITFORGE) bench-study)

bench-study: $(VENV)/.core ## speed of a study beside single simulations; ARGS="--command='--processes 2'": of whole commands
	@$(TRITFORGE) $@ $(words)

bench-quant: $(VENV)/.quant ## time and memory of quantizing MODEL by METHOD on DEVICE: its dimensions, random weights
	@$(TRITFORGE) $@ $(words)

host: $(VENV)/.hw ## a product or the self-test on the board at PORT
	@$(TRITFORGE) $@ $(words)

simulate: $(VENV)/.hw ## BOARD's top level, Verilated, behind a virtual serial port
	@$(TRITFORGE) $@ $(words)

boards: $(VENV)/.core ## committed results of all boards
	@$(TRITFORGE) $@ $(words)

memory: $(VENV)/.hw ## the SDRAM controller on CHIP's model: efficiency on TRAFFIC, rules of the data sheet that were broken
	@$(TRITFORGE) $@ $(words)

machine: $(VENV)/.hw ## the whole-token machine around ARRAY, block by block: tables, flip-flops, memories, multipliers
	@$(TRITFORGE) $@ $(words)

resources: $(VENV)/.hw ## tables, flip-flops and clock of ARRAY on an FPGA
	@$(TRITFORGE) $@ $(words)

vector: $(VENV)/.hw ## the vector unit's blocks: latency, tables and multipliers on ECP5; Verilog into OUT
	@$(TRITFORGE) $@ $(words)

disassemble: $(VENV)/.core ## the operations of an image of the whole-token machine, as text
	@$(TRITFORGE) $@ $(words)

wave: $(VENV)/.hw ## a waveform of every signal of one GEMM
	@$(TRITFORGE) $@ $(words)

diagram: $(VENV)/.hw ## the blocks of ARRAY with their widths, as SVG
	@$(TRITFORGE) $@ $(words)

array-options: $(VENV)/.hw ## what each option of an array costs on ECP5
	@$(TRITFORGE) $@ $(words)

completion: $(VENV)/.core ## what makes SHELL complete commands, options and names
	@$(TRITFORGE) $@ $(words)

test: $(VENV)/.test ## everything that a fresh machine needs, then the suite
	$(call plain,ARGS)
	@$(PY) -m pytest -m "not slow" $(ARGS)

test-fast: $(VENV)/.test ## the edit-test loop: what neither compiles, synthesizes nor loads torch
	$(call plain,ARGS)
	@$(PY) -m pytest --fast $(ARGS)

test-slow: $(VENV)/.test ## the longer tests
	$(call plain,ARGS)
	@$(PY) -m pytest -m slow $(ARGS) || [ $$? -eq 5 ] # 5: no slow tests

test-rtl: $(VENV)/.test ## the gateware's tests
	$(call plain,ARGS)
	@$(PY) -m pytest tests/hw $(ARGS)

test-nojit: $(VENV)/.test ## the kernels' tests without compilation
	$(call plain,ARGS)
	@NUMBA_DISABLE_JIT=1 $(PY) -m pytest -m "kernels and not slow" $(ARGS)

test-bounds: $(VENV)/.test ## the kernels' tests with bounds checks
	$(call plain,ARGS)
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/numba-bounds $(PY) -m pytest -m "kernels and not slow" $(ARGS)

fuzz: $(VENV)/.fuzz ## every parser on RUNS faulty inputs each, guided by coverage: RUNS=50000 SECONDS=600 TARGET=gguf SEED=0
	$(if $(filter-out RUNS SECONDS TARGET SEED,$(options)),$(error $(firstword $(filter-out RUNS SECONDS TARGET SEED,$(options))) is no option of make $@, which takes RUNS, SECONDS, TARGET, SEED, ARGS))
	@$(PY) -m tests.fuzz --runs $(or $(RUNS),50000) --seconds $(or $(SECONDS),600) --seed $(or $(SEED),0) \
	$(if $(value TARGET),--target $(call quoted,$(value TARGET))) $(ARGS)

mutate: $(VENV)/.test ## judge a seeded sample of one-line faults by the tests that run their lines: SAMPLE=200 SEED=0
	$(if $(filter-out SAMPLE SEED,$(options)),$(error $(firstword $(filter-out SAMPLE SEED,$(options))) is no option of make $@, which takes SAMPLE, SEED, ARGS))
	@[ -f build/mutation/lines.json ] || $(PY) -m tests.mutation --map
	@$(PY) -m tests.mutation --sample $(or $(SAMPLE),200) --seed $(or $(SEED),0) $(ARGS)

lint: $(VENV)/.test ## ruff, the import order, and the types of the vocabulary files
	$(plain)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/mypy

docs: $(VENV)/.hw ## the generated tables and pictures of README and docs
	$(plain)
	@$(PIP) -e '.[docs,notebook]' && $(PY) -m energy docs && $(PY) -m energy notebook --docs && $(PY) -m sim docs && \
	$(PY) -m hw gates --document && $(PY) -m hw resources --docs && $(PY) -m hw wave --docs && $(PY) -m hw diagram --docs && \
	$(PY) -m hw diagram --machine --docs && $(PY) -m hw boards --docs

docs-site: $(VENV)/.core ## the pages of docs/ as a site in build/site/, to be read without a network
	$(plain)
	@$(PIP) -e '.[site]' && NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict && echo "wrote build/site/index.html"

sbom: $(VENV)/.base ## the tested set of packages as CycloneDX: build/sbom.json
	$(plain)
	@$(PIP) 'cyclonedx-bom>=7' && mkdir -p build && $(VENV)/bin/cyclonedx-py requirements constraints.txt --pyproject pyproject.toml \
	--output-reproducible -o build/sbom.json && echo "wrote build/sbom.json"

clean: ## remove build/ (results, caches, fetched weights), not .venv
	$(plain)
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

$(VENV)/.notebook: $(VENV)/.core
	@echo "installing Jupyter's kernel (once)" >&2
	@$(PIP) -e '.[notebook]' && touch $@

$(VENV)/.runtimes: $(VENV)/.quant
	@echo "installing llama.cpp (once)" >&2
	@$(PIP) -e '.[runtimes]' && touch $@

$(VENV)/.eval: $(VENV)/.quant
	@echo "installing lm-eval (once)" >&2
	@$(PIP) -e '.[quant,eval]' && touch $@

$(VENV)/.studies: $(VENV)/.core
	@echo "installing pyarrow (once)" >&2
	@$(PIP) -e '.[studies]' && touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@echo "installing atheris (once)" >&2
	@$(PIP) -e '.[quant,hw,test,fuzz]' && touch $@

# $(call apt,PACKAGE) installs a Debian package as root or through sudo, or says in one line what is missing.
apt = { echo "installing the Debian package $(1)" >&2; \
  sudo=$$([ $$(id -u) = 0 ] || echo "sudo -n"); \
  { $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1); } >/dev/null 2>&1 || \
  { echo "error: the Debian package $(1) is missing and could not be installed; run: sudo apt-get install $(1)" >&2; exit 2; }; }
