"""What tests share is in packages: no test reads another test, and small models are built in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
#: Functions that build a model of nodes or read it from text, and the one module that calls each for all tests.
BUILDERS = {"make_model": "support/small_models.py"}
FILES = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[str]:
    """The names of the functions that a file calls, without what stands before the last dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", ""))


@pytest.mark.parametrize("name", FILES)
def test_what_tests_share_is_in_packages(name):
    tree = ast.parse(FILES[name].read_text())
    tests = [
        module for module in imported(tree) if any(part.startswith("test_") for part in module.split("."))
    ]
    assert not tests, "move what is shared to tests/support"
    elsewhere = {builder for builder in called(tree) if BUILDERS.get(builder, name) != name}
    assert not elsewhere, f"build the model with {[BUILDERS[builder] for builder in elsewhere]}"


def test_modules_are_in_folders():
    """Test modules by subject, helpers in packages: a bare name on the path can be that of anything."""
    assert [path.name for path in TESTS.glob("*.py")] == ["conftest.py"]
