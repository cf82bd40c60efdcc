"""A model whose one matrix lies in a file of its own."""

import numpy as np
from onnx import TensorProto

from support.small_models import build, node

SIZE = 60  # 14,400 bytes: more than what is taken into the model at once
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(2, SIZE)).astype(np.float32)
LABELS = [3, 5]
#: x * dy/dx of y = x W.
EXPECTED = X * WEIGHTS[:, LABELS].T


def model_with(weights=WEIGHTS):
    size = len(weights)
    return build([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", size]}, {"y": ["N", size]}, {"w": weights})


def save(path, location="w.bin", weights=WEIGHTS, **entries):
    """Writes a model whose weights are external, and gives the bytes that its data file should have."""
    model = model_with(weights)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return weights.tobytes()


def check(maps):
    np.testing.assert_allclose(maps, EXPECTED, rtol=1e-5, atol=1e-6)
