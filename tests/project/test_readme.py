"""The examples of the README, run as they stand on a real Keras model."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.explained import close

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[2]


def test_python_examples(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "models" / "digits.keras", "model.keras")
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    found = {"images": images}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        exec(code, found)
    model = keras.models.load_model("model.keras")
    cut = keras.Model(model.inputs, model.layers[-2].output)
    logits, black = (cut({"image": x}).numpy() for x in (images, 0 * images))
    close(found["prediction"], logits, 1e-5)
    close(found["attribution"], found["heatmaps"], 1e-5)
    # The image has one channel, so that its mean adds up to the change of the logit but for the delta.
    change = np.take_along_axis(logits - black, logits.argmax(1)[:, None], axis=1)[:, 0]
    close(found["heatmaps"].sum((1, 2, 3)) - found["method"].convergence_delta(images), change, 1e-5)
    assert found["method"].relative_gap(images).max() < 0.2
    assert {value.name for value in found["gradient_model"].graph.output} >= {"image_gradient"}
    assert Path("why.png").stat().st_size > 5000
