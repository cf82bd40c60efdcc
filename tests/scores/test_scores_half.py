"""Scores of 16-bit models are computed in 32 bits: areas of boxes and counts of pixels are above 65,504."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.tiny_graphs import parse

from onnxattr import GradientInput

RNG = np.random.default_rng(0)
BOXES = np.zeros((2, 5, 7), np.float16)
BOXES[..., :2] = RNG.uniform(0, 100, (2, 5, 2))
BOXES[..., 2:4] = BOXES[..., :2] + RNG.uniform(200, 300, (2, 5, 2))
BOXES[..., 4:] = RNG.uniform(0.2, 1, (2, 5, 3))
ZONE = np.ones((1, 2, 40_000), np.float16)
CASES = {
    "semantic segmentation": ("2,40000", RNG.uniform(0.5, 1, ZONE.shape).astype(np.float16), ZONE),
    "object detection": ("5,7", BOXES, BOXES[:, :2] + np.float16(7)),
    "object detection box position": ("5,7", BOXES, BOXES[:, :2] + np.float16(7)),
}


@pytest.mark.parametrize("name", CASES)
def test_score_in_an_arithmetic_of_16_bits(name, tmp_path):
    """onnx's evaluator rounds each result to 16 bits, as accelerators do; ONNX Runtime's CPU kernels do not."""
    sizes, x, y = CASES[name]
    text = f"m (float%[N,{sizes}] x) => (float%[N,{sizes}] y) {{ y = Identity(x) }}"
    GradientInput(parse(text.replace("%", "16")), operator=name).export(tmp_path / "e.onnx")
    evaluator = ReferenceEvaluator(onnx.load(tmp_path / "e.onnx"))
    score, found = evaluator.run(["score", "attribution"], {"x": x, "target": y})
    exact = GradientInput(parse(text.replace("%", "")), operator=name)(x.astype(np.float32), y)
    np.testing.assert_allclose(score, exact.scores, rtol=2e-3)
    largest = np.abs(np.asarray(exact)).max()
    np.testing.assert_allclose(np.float32(found) / largest, np.asarray(exact) / largest, rtol=0, atol=0.01)
