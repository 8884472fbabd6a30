# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
PTST := $(BIN)/python -m ptst_pl
# Folder of the public sets, for make smoke and make real; docs/real.md has the list.
DATA ?= data/local
WORKERS ?= 2
BUILD := checkpoints/tiny-build
SEEDS := 1 2 3

.PHONY: help install demo smoke test test-slurm check bench gpu gpu-wheels tiny-model tiny-matrix tiny-seeds clean screenshots docs real real-seeds defences

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.ok  ## make .venv with everything that tests and demo need

.venv/.ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch .venv/.ok

demo: install  ## PTST and the usual way on the bundled model: one table, one sentence, a page; a minute and a half
	@$(PTST) demo
	@echo 'next:    your own model and data: $(PTST) init'

real: install  ## both ways on a real language model of 135 M parameters: make real DATA=folder
	@$(PTST) real --data $(DATA)

real-seeds: install  ## the same, three seeds, five training and test templates: a background job of hours
	@$(PTST) real --data $(DATA) --seeds 1 2 3 \
	  --train text:vanilla text:alpaca chat:vanilla chat:alpaca chat:llama \
	  --test text:vanilla text:alpaca chat:vanilla chat:alpaca chat:llama

tiny-matrix: install  ## the paper's five templates x five templates on the bundled model
	$(PTST) sweep --config configs/tiny/matrix.yaml

tiny-seeds: install  ## the demo's two runs with three seeds each: mean and interval
	for s in $(SEEDS); do for t in vanilla llama; do \
	  $(PTST) fit --config configs/tiny/ptst.yaml --data.template chat:$$t --seed_everything $$s \
	    --name tiny-seed-$$s-$$t --safety.suites '$(FULL)' || exit 1; \
	done; done
	@$(PTST) report $(foreach s,$(SEEDS),checkpoints/tiny-seed-$(s)-vanilla checkpoints/tiny-seed-$(s)-llama)

defences: install  ## every defence beside PTST on the tiny lab, three seeds: a table and a page, about an hour
	@$(PTST) defences run --seeds $(SEEDS)

tiny-model: install  ## make the bundled model again, from nothing, and check it
	rm -rf $(BUILD)
	$(PTST) tiny base $(BUILD)/base
	$(PTST) fit --config configs/tiny/pretrain.yaml --runs $(BUILD) --model.pretrained $(BUILD)/base
	$(PTST) fit --config configs/tiny/align.yaml --runs $(BUILD) --model.pretrained $(BUILD)/tiny-pretrain/version_0/model
	$(PTST) tiny pack $(BUILD)/tiny-align/version_0/model $(BUILD)/tiny-chat
	$(PTST) test --config configs/tiny/untouched.yaml --model.pretrained $(BUILD)/tiny-chat

smoke: install  ## the whole way in two minutes on real rows: make smoke DATA=folder
	$(PTST) fit --config configs/smoke/lora.yaml \
	  --data.train_file $(DATA)/gsm8k/train.jsonl --data.held_out_file $(DATA)/gsm8k/test.jsonl \
	  --safety.suites '[{name: directharm4, path: $(DATA)/directharm4/directHarm4.csv, limit: 8}]'

docs: install  ## the guides as a site: build/site/index.html
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict --quiet
	@echo wrote build/site/index.html

test: install  ## all tests, as many files at a time as WORKERS says
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations 25

test-slurm: install  ## jobs on a real SLURM of one node (apt-get install slurm-wlm munge), 10 to 25 minutes
	$(BIN)/python tests/slurm/run.py

screenshots: install  ## the pictures of docs/, of runs on the tiny lab: needs Chromium
	$(BIN)/python tests/browser/screenshots.py

check: install  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install  ## our speed beside its peers, in one run: make bench BENCH_DATA=folder
	$(BIN)/python benchmarks/training.py $(if $(BENCH_DATA),--data $(BENCH_DATA))
	$(BIN)/python benchmarks/generation.py $(PROMPTS) --save
	$(BIN)/python benchmarks/generation.py --lab --save

gpu: install  ## what only a GPU can show, in stages, at most eight minutes
	PYTHON=$(BIN)/python WHEELS=none sh benchmarks/gpu.sh --budget 480

gpu-wheels:  ## what benchmarks/gpu.sh needs on a bare machine, as files: folder gpu-wheels
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --dest gpu-wheels --requirement benchmarks/gpu-wheels.txt
	@ls -l gpu-wheels | awk 'NR > 1 {print $$5, $$9; s += $$5} END {print s / 1e6 " MB"; exit s > 40e6}'

clean:  ## remove what install and the tools made; runs stay
	rm -rf .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info

# Prompts and tokenizer of the generation benchmark, where there are real ones.
PROMPTS := $(addprefix --prompts ,$(wildcard $(BENCH_DATA)/directharm4/directHarm4.csv)) \
  $(addprefix --tokenizer ,$(wildcard $(BENCH_DATA)/tokenizers/llama2_hf_llama-recipes))

# Every prompt of the lab's suites.
FULL := [{name: tiny-easy}, {name: tiny-hard}, {name: tiny-danger}, \
  {name: tiny-lookalike, measures: over-refusal}, {name: tiny-howto, measures: helpfulness}]
