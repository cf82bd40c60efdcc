"""The examples of docs/methods.md, run as they stand, and the methods that it lists."""

import re
from pathlib import Path

import numpy as np
import onnx
from support.small_models import cnn_nchw

import onnxattr.attributions as attributions
from onnxattr import ExpectedGradients, IntegratedGradients

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = cnn_nchw()
    onnx.save(case.model, "model.onnx")
    training = np.random.default_rng(1).normal(size=(30, 3, 8, 9)).astype(np.float32)
    scope = {"images": case.given, "labels": np.array([1, 4, 0]), "training_images": training}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, scope)
    x, labels = case.given, scope["labels"]
    plain = IntegratedGradients(case.model)
    assert scope["gaps"].shape == (3,)
    expected = {
        "flipped": plain.explain(x, labels, baselines=x[:, :, ::-1]),
        "black": plain.explain(x, labels),
        "own": plain.explain(x, labels, baselines=np.flip(x, axis=2)),
        "same": ExpectedGradients(case.model, background=training[:20], seed=1).explain(x, labels),
    }
    for name, maps in expected.items():
        np.testing.assert_allclose(scope[name], maps, rtol=0, atol=2e-6 * np.abs(maps).max())


def test_every_method_is_listed():
    for name in attributions.__all__:
        assert f"`{name}`" in PAGE or f"`{name}(" in PAGE, name
