"""What an installed package holds."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("top", ["onnxattr", "converters"])
def test_every_folder_of_modules_is_a_package(top):
    """Packages are found by their __init__.py; ``make release-check`` compares a wheel with the tree."""
    folders = {file.parent for file in (ROOT / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("top", ["onnxattr", "converters"])
def test_every_other_file_is_named_as_data(top):
    """What no pattern names is not in a wheel, as a table that a module reads."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    others = [path for path in files if not any(fnmatch(path.name, kind) for kind in ("*.py", *named))]
    assert [str(path) for path in others] == []
