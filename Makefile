# The daily commands. They run what is on PATH: activate the virtual environment first (CONTRIBUTING.md).
.PHONY: help check format lint types test slow all docs bench constraints

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

check: lint types test ## everything that must pass before a commit

format: ## write the format, and mend what lint can mend
	ruff check --fix .
	ruff format .

lint: ## format and lint, without changing anything
	ruff format --check .
	ruff check .

types:
	pyright

test: ## the default suite: minutes, offline
	python -m pytest

slow: ## only what the default suite leaves out: slow, real and gpu
	python -m pytest -m "slow or real or gpu"

all: ## every test
	python -m pytest -m ""

docs: ## rewrite docs/api from the docstrings
	python docs/make.py

bench: ## the benchmark of the README, recorded in benchmarks/quickstart: long
	python benchmarks/quickstart/run.py

constraints: ## rewrite constraints.txt from this environment: only from a fresh one with -e '.[dev]' in it
	{ sed -n '/^#/p' constraints.txt; pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//' | tr A-Z a-z | LC_ALL=C sort; } > constraints.new
	mv constraints.new constraints.txt
