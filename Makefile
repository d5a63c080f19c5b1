# Two commands set edgeseg up on a fresh Debian-like machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
ZOO := .venv-zoo
TRITON := .venv-triton
MLSERVER := .venv-mlserver
.PHONY: help demo test test-thorough test-pythons faults fuzz soak test-api web-cost test-zoo test-homeassistant test-remote remote-cost test-examples fine-tune-demo test-browser screenshots test-kubernetes test-arm64 lint lock audit clean

help:
	@echo "make demo    install into $(VENV) and watch a real clip with a real network"
	@echo "make test    install what the tests need and run them all"
	@echo "make test-thorough  the properties with ten times their examples (an hour)"
	@echo "make test-pythons   the quick half of the tests in every Python that is installed, 3.11 to 3.14"
	@echo "make faults  the whole fault suite (an hour; as root for small disks and slow DNS): out/faults/"
	@echo "make fuzz    coverage-guided fuzzing of what parses bytes from outside, FUZZ_SECONDS=60 each"
	@echo "make soak    the daemon amid random faults for SOAK_MINUTES=20: out/soak/"
	@echo "make test-api        a property-based client (schemathesis, in .venv-api) against /openapi.json"
	@echo "make web-cost        CPU of the daemon with and without a web server that nobody watches"
	@echo "make test-browser    what people see and touch, in a real chromium"
	@echo "make screenshots     the pages' pictures of the dashboard, of a clip watched for ten minutes"
	@echo "make test-zoo        the tests of training, export and quantization, in $(ZOO) (PyTorch, 1.8 GB)"
	@echo "make test-remote  engine kserve with NVIDIA's Triton and MLServer, in environments of their own (Python 3.11)"
	@echo "make remote-cost  what a server and what JPEG costs, in time and in accuracy (needs EDGESEG_TEST_DATA)"
	@echo "make test-homeassistant  show what we announce to a real Home Assistant, in $(HOMEASSISTANT) (HOMEASSISTANT_PYTHON=python3.13)"
	@echo "make test-arm64      the suite's core in an aarch64 Debian under emulation, in $(ARM64) (1.5 GB)"
	@echo "make test-examples   the example files in Node-RED and linters from npm, in $(EXAMPLES)"
	@echo "make test-kubernetes  hold the Kubernetes manifests against the published schemas"
	@echo "make fine-tune-demo  adapt a network to a camera with 31 labelled frames (needs EDGESEG_TEST_DATA)"
	@echo "make lint    ruff and mypy alone"
	@echo "make lock    renew requirements/*.lock from pyproject.toml"
	@echo "make audit   look for known vulnerabilities in what the locks pin"

# A network that was downloaded before is taken from a mirror folder, so that the demo runs offline too.
ifneq ($(wildcard ../shared/data/models),)
export EDGESEG_MODEL_MIRROR ?= $(abspath ../shared/data/models)
endif

demo: $(VENV)/.demo-installed
	@$(BIN)/edgeseg demo

# Many tests wait for other processes: twice as many run at once as there are cores, four for the smallest
# machine and no more than eight. What measures runs alone (tests/support/parallel.py).
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); \
	[ $$cores -le 2 ] && echo 4 || { [ $$cores -ge 4 ] && echo 8 || echo $$((2 * cores)); })
IN_PARALLEL := -n $(JOBS) --dist loadfile --no-loadscope-reorder
test: lint
	$(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

# Every property of hypothesis with ten times its usual examples, others in each run: an hour.
test-thorough: $(VENV)/.test-installed
	EDGESEG_EXAMPLES=10 $(BIN)/python -m pytest $(IN_PARALLEL) -m hypothesis --timeout 3000 $(PYTEST_ARGS)

test-pythons:
	tests/pythons.sh $(IN_PARALLEL) $(PYTEST_ARGS)

# The test that waits ten minutes for a broker goes beside the rest, one at a time as they measure.
faults: $(VENV)/.test-installed
	EDGESEG_FAULTS=all EDGESEG_FAULTS_JSON=out/faults/faults.json \
		$(BIN)/python -m pytest tests/faults -n 2 --dist loadgroup $(PYTEST_ARGS)

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.test-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	for target in pipeline manifest command message; do \
		$(BIN)/python -m tests.faults.fuzz $$target $(FUZZ_SECONDS) || exit 1; \
	done

SOAK_MINUTES ?= 20
soak: $(VENV)/.test-installed
	$(BIN)/edgeseg soak --minutes $(SOAK_MINUTES)

# A part of `make test`.
test-browser: $(VENV)/.test-installed
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/web/test_browser.py tests/web/test_browser_newcomer.py tests/web/test_browser_proxy.py

screenshots: $(VENV)/.test-installed
	$(BIN)/python -m tests.scripts.screenshots docs

API := .venv-api
test-api: $(VENV)/.test-installed
	$(PYTHON) -m venv $(API)
	$(API)/bin/python -m pip install --quiet --disable-pip-version-check 'schemathesis>=4.32'
	$(BIN)/python -m tests.scripts.web_api_check $(API)/bin/schemathesis -n 50

web-cost: $(VENV)/.test-installed
	$(BIN)/python -m tests.scripts.web_cost

# nvidia-pytriton brings the server itself; neither of them shares an environment with us.
REMOTE_PYTHON ?= python3.11
REMOTE_SERVERS := EDGESEG_TRITON="$(CURDIR)/$(TRITON)/bin/python" EDGESEG_MLSERVER="$(CURDIR)/$(MLSERVER)/bin/python"
test-remote: $(VENV)/.test-installed $(TRITON)/.installed $(MLSERVER)/.installed
	$(REMOTE_SERVERS) $(BIN)/python -m pytest $(PYTEST_ARGS) tests/kserve/test_remote.py tests/kserve/test_remote_daemon.py

remote-cost: $(VENV)/.test-installed $(TRITON)/.installed $(MLSERVER)/.installed
	$(REMOTE_SERVERS) $(BIN)/python -m tests.scripts.remote_cost

$(TRITON)/.installed:
	$(REMOTE_PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install --quiet --disable-pip-version-check nvidia-pytriton==0.7.0 onnxruntime
	@touch $@

$(MLSERVER)/.installed:
	$(REMOTE_PYTHON) -m venv $(MLSERVER)
	$(MLSERVER)/bin/python -m pip install --quiet --disable-pip-version-check mlserver==1.7.1 onnxruntime
	@touch $@

# Schemas of every Kubernetes: 100 MB that nothing else needs.
test-kubernetes: $(VENV)/.test-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'kubernetes-validate>=1.37'
	$(BIN)/kubernetes-validate --strict docs/examples/kubernetes/edgeseg.yaml
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/test_kubernetes.py

# What `make test` skips for want of PyTorch.
test-zoo: $(ZOO)/.installed
	$(ZOO)/bin/mypy -p edgeseg.zoo
	$(ZOO)/bin/python -m pytest $(PYTEST_ARGS) tests/zoo

# Home Assistant takes some of the newest Pythons alone; which release is tried follows from this one.
HOMEASSISTANT_PYTHON ?= python3.13
HOMEASSISTANT := .venv-homeassistant
test-homeassistant: $(VENV)/.test-installed $(HOMEASSISTANT)/.installed
	EDGESEG_HOMEASSISTANT="$(CURDIR)/$(HOMEASSISTANT)/bin/python" \
		$(BIN)/python -m pytest $(PYTEST_ARGS) tests/publish/test_homeassistant_core.py

# Node-RED runs the flow, linters read the Dockerfile, the compose file meets its schema. Needs npm.
EXAMPLES := .venv-examples
test-examples: $(VENV)/.test-installed $(EXAMPLES)/.installed
	EDGESEG_EXAMPLE_TOOLS="$(CURDIR)/$(EXAMPLES)" $(BIN)/python -m pytest $(PYTEST_ARGS) tests/test_examples_tools.py

$(EXAMPLES)/.installed:
	$(PYTHON) -m venv $(EXAMPLES)
	$(EXAMPLES)/bin/python -m pip install --quiet --disable-pip-version-check check-jsonschema
	npm install --silent --no-audit --no-fund --prefix $(EXAMPLES) \
		node-red@4 dockerfilelint@1 dockerfile-utils@0.16
	@touch $@

$(HOMEASSISTANT)/.installed:
	$(HOMEASSISTANT_PYTHON) -m venv $(HOMEASSISTANT)
	$(HOMEASSISTANT)/bin/python -m pip install --quiet --disable-pip-version-check homeassistant paho-mqtt==2.1.0
	@touch $@

# Functional only: nothing that is measured here says how fast a board is. DEBIAN_MIRROR: fetch.sh says when.
ARM64 := .arm64
ARM64_TESTS := tests/arm64/board.py $(addsuffix .py,$(addprefix tests/,stages/test_zones rules/test_rules \
	stages/test_postprocess stages/test_preprocess publish/test_outbox config/test_config engines/test_engines \
	capture/test_sandbox capture/test_system_calls))
test-arm64: $(VENV)/.test-installed
	@DEBIAN_MIRROR='$(DEBIAN_MIRROR)' tests/arm64/fetch.sh $(ARM64)
	@$(BIN)/python -m tests.arm64.wheels $(ARM64)
	@echo "labels of this machine's processor"
	@$(BIN)/python -m tests.arm64.labels write $(ARM64)/labels
	@echo "labels of aarch64, compared with them"
	@tests/arm64/enter.sh $(ARM64) python3 -m tests.arm64.labels compare $(ARM64)/labels
	tests/arm64/enter.sh $(ARM64) python3 -m pytest -p no:cacheprovider -p pytest_timeout -p xdist.plugin \
		-p _hypothesis_pytestplugin -p tests.arm64.emulation -o timeout=1800 \
		-n 2 --dist loadfile --no-loadscope-reorder $(ARM64_TESTS) $(PYTEST_ARGS)

fine-tune-demo: $(ZOO)/.installed
	$(ZOO)/bin/python -m edgeseg.zoo.fine_tune_demo

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --constraints requirements/constraints.txt --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --extra litert --extra cli pyproject.toml -o requirements/demo.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --constraints requirements/constraints.txt --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --extra litert --extra openvino --extra cli --extra test pyproject.toml -o requirements/test.lock

$(VENV)/bin/python:
	@tests/install_servers.sh venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: requirements/demo.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/demo.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.test-installed: requirements/test.lock pyproject.toml tests/install_servers.sh | $(VENV)/bin/python
	@tests/install_servers.sh test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# torch goes first and by itself: its CPU build must not be replaced by what others would pull in.
$(ZOO)/.installed: pyproject.toml
	$(PYTHON) -m venv $(ZOO)
	$(ZOO)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(ZOO)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[zoo,litert,cli]' \
		'pytest>=8.2' pytest-timeout hypothesis jsonschema mypy types-PyYAML
	@touch $@

# The libraries that the locks name run with the rights of the daemon.
audit: $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python requirements/audit.py

clean:
	rm -rf $(VENV) $(ZOO) $(TRITON) $(MLSERVER) $(API) $(ARM64) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
