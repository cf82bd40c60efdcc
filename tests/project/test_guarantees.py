"""Every promise of docs/guarantees.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISES = [
    line
    for line in (ROOT / "docs/guarantees.md").read_text().splitlines()
    if line.startswith("| ") and "tests |" not in line
]


@pytest.mark.parametrize("promise", [line for line in PROMISES if "---" not in line])
def test_a_promise_has_tests(promise):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
    assert named
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text())
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (
            f"{file}::{test}"
        )
