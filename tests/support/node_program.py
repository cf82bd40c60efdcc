"""The small program for Node, as a parameter of tests that are skipped where it cannot run."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE = pytest.param(
    ["node", "examples/node/explain.mjs"],
    marks=pytest.mark.skipif(
        not shutil.which("node") or not (ROOT / "node_modules" / "onnxruntime-node").is_dir(),
        reason="needs Node and npm ci",
    ),
)
