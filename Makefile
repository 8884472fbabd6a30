# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
# Folder with gsm8k/{train,test}.jsonl and directharm4/directHarm4.csv for make smoke.
DATA ?= data/local

.PHONY: help install demo smoke test check bench gpu clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.ok  ## make .venv with everything that tests and demo need

.venv/.ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch .venv/.ok

smoke: install  ## the whole way in two minutes on real rows: make smoke DATA=folder
	$(BIN)/python -m ptst_pl fit --config configs/smoke/lora.yaml \
	  --data.train_file $(DATA)/gsm8k/train.jsonl --data.held_out_file $(DATA)/gsm8k/test.jsonl \
	  --safety.suites '[{name: directharm4, path: $(DATA)/directharm4/directHarm4.csv, limit: 8}]'

test: install  ## all tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q

check: install  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove what the other targets made, but no run
	rm -rf .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info
