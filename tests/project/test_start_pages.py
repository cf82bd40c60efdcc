"""The pages that start with what one has: every command in them is run, in the order of the page."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script():
    """tests/release/start_pages.py, which runs the same in fresh environments."""
    spec = importlib.util.spec_from_file_location("start_pages", ROOT / "tests/release/start_pages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


START = script()
NEEDS = {"keras": "keras", "pytorch": "torch", "sklearn": "skl2onnx"}


def test_every_page_is_tried():
    assert {path.stem for path in (ROOT / "docs/start").glob("*.md")} == set(START.PAGES)


@pytest.mark.parametrize("page", START.PAGES)
def test_extras_are_those_of_the_package(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in START.requirements(page):
        assert set(wanted[2:-1].split(",")) <= set(extras)


@pytest.mark.slow
@pytest.mark.parametrize("page", START.PAGES)
def test_commands_of_the_page(page, tmp_path):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    START.run_page(page, Path(sys.executable), ROOT, tmp_path)
