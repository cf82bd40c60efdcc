"""The example of docs/scores.md, run as it stands."""

import re
from pathlib import Path

import numpy as np
from support.explained import close
from support.tiny_graphs import parse

import onnxattr

PAGE = Path(__file__).parents[1] / "docs" / "scores.md"
MODEL = """m (float[N,4,6,3] x) => (float[N,3] y)
    <float[3,3] w = {1, -2, 0.5, 0.25, 1.5, -1, 0.5, 1, 2}, int64[2] axes = {1, 2}>
    { square = Mul(x, x) sum = ReduceMean<keepdims=0>(square, axes) y = MatMul(sum, w) }"""
W = np.array([[1.0, -2.0, 0.5], [0.25, 1.5, -1.0], [0.5, 1.0, 2.0]])


def test_the_example_of_a_function_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(
        r"```python\n(from onnxattr import IntegratedGradients, xp\n.*?)```", PAGE.read_text(), re.S
    )
    images = np.random.default_rng(0).normal(size=(3, 4, 6, 3)).astype(np.float32)
    scope = {"model": parse(MODEL), "images": images}
    exec(code, scope)
    # Both images have the same scores z: the lead is 2 (z_0 - max(z_1, z_2)). The gradient of x^2 is x on average.
    weights = W[:, 0] - W[:, np.argmax((images**2).mean(axis=(1, 2)) @ W[:, 1:], axis=1) + 1].T
    expected = (2 * images**2 / 24 * weights[:, None, None]).mean(axis=-1, keepdims=True)
    close(scope["maps"], expected.astype(np.float32), 1e-5)
    close(onnxattr.load("lead.onnx").explain(images, 0), expected.astype(np.float32), 1e-5)


def test_the_page_lists_every_score_by_name():
    text = PAGE.read_text()
    for task in onnxattr.Tasks:
        assert f'`"{task.value}"`' in text
