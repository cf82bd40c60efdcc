"""The examples of docs/layers.md, run as they stand."""

import re
from pathlib import Path

import numpy as np
import onnx
from support.small_models import cnn_nchw, embedding

PAGE = (Path(__file__).parents[2] / "docs" / "layers.md").read_text()


def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, text = cnn_nchw(), embedding()
    onnx.save(images.model, "images.onnx")
    onnx.save(text.model, "text.onnx")
    np.save("images.npy", images.given)
    np.save("words.npy", text.given)
    found: dict = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, found)
    assert found["maps"].shape == (3, 1, 8, 9)
    assert found["activation"].shape == (3, 4, 8, 9)
