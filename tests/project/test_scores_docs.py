"""The example of docs/scores.md, run as it stands."""

import re
from pathlib import Path

import numpy as np
from support.explained import close
from support.tiny_graphs import parse

import onnxattr

PAGE = Path(__file__).parents[2] / "docs" / "scores.md"
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


def overlaps(a, b):
    """Intersection over union of one box with each of several, as corners."""
    low, high = np.maximum(a[..., :2], b[:2]), np.minimum(a[..., 2:4], b[2:4])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    return both / (np.prod(a[..., 2:4] - a[..., :2], axis=-1) + np.prod(b[2:4] - b[:2]) - both + 1e-4)


def test_the_example_of_a_detector_with_other_boxes_runs():
    """Boxes that are the input itself, of which the slopes are differences in float64."""
    model = parse("m (float[N,84,7] x) => (float[N,84,7] y) { y = Identity(x) }")
    (code,) = re.findall(
        r"```python\n(from onnxattr import GradientInput, xp\n.*?)```", PAGE.read_text(), re.S
    )
    images = np.random.default_rng(0).uniform(0.1, 1, (2, 84, 7)).astype(np.float32)
    images[:, :4] *= 3
    references = np.zeros((2, 3, 85), np.float32)
    references[:, :2, :4] = [[0.5, 0.5, 2, 2], [1, 1, 3.5, 2.5]]
    references[:, :2, 4] = 1
    references[:, 0, 7] = references[:, 1, 9] = 1
    scope = {"model": model, "images": images, "references": references}
    exec(code, scope)

    def score(x, y):
        x = x.T
        corners = np.concatenate([x[:, :2] - x[:, 2:4] / 2, x[:, :2] + x[:, 2:4] / 2], axis=-1)
        kinds, found = x[:, 4:], []
        for box in y[:2]:
            cosine = kinds @ box[5:] / (np.linalg.norm(kinds, axis=-1) * np.linalg.norm(box[5:]) + 1e-4)
            found.append((overlaps(corners, box[:4]) * kinds.max(axis=-1) * cosine).max())
        return np.mean(found)

    for image, y, found in zip(images.astype(float), references.astype(float), scope["maps"], strict=True):
        slopes = np.zeros_like(image)
        for place in np.ndindex(*image.shape):
            step = np.zeros_like(image)
            step[place] = 1e-6
            slopes[place] = (score(image + step, y) - score(image - step, y)) / 2e-6
        assert np.abs(slopes).max() > 0.01
        close(found, (image * slopes).astype(np.float32), 1e-5)


def test_the_page_lists_every_score_by_name():
    text = PAGE.read_text()
    for task in onnxattr.Tasks:
        assert f'`"{task.value}"`' in text
