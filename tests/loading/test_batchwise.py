"""Recurrent nodes with the batch first, which ONNX Runtime itself refuses."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support.reference_ops import NEW_OPS
from support.small_models import build

from onnxattr.compile.gradient import vjp
from onnxattr.testing import check_vjp

STEPS, BATCH, SIZE, HIDDEN = 4, 3, 2, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def batch_first(op: str, direction: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A node with layout=1, lengths and initial states, and its inputs."""
    directions, rows = (2 if direction == "bidirectional" else 1), GATES[op] * HIDDEN
    shapes = {
        "x": (BATCH, STEPS, SIZE),
        "w": (directions, rows, SIZE),
        "r": (directions, rows, HIDDEN),
        "b": (directions, 2 * rows),
        "lengths": (BATCH,),
        "h": (BATCH, directions, HIDDEN),
        **({"c": (BATCH, directions, HIDDEN)} if op == "LSTM" else {}),
    }
    rng = np.random.default_rng(0)
    feeds = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    feeds["lengths"] = np.array([4, 1, 3], np.int32)
    outputs = ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(
        op, [*shapes], outputs, hidden_size=HIDDEN, layout=1, direction=direction, name="cell"
    )
    kinds = {name: (v.shape, helper.np_dtype_to_tensor_dtype(v.dtype)) for name, v in feeds.items()}
    return build([node], kinds, {name: [None] * (4 if name == "y" else 3) for name in outputs}), feeds


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_gradient(op, direction):
    model, feeds = batch_first(op, direction)
    check_vjp(model, feeds, new_ops=NEW_OPS, directions=2)


@pytest.mark.parametrize("op", GATES)
def test_onnxruntime_runs_the_model_and_its_gradient(op):
    model, feeds = batch_first(op, "bidirectional")
    gradient = vjp(model, "x")
    session = onnxruntime.InferenceSession(gradient.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    expected = ReferenceEvaluator(model, new_ops=NEW_OPS).run(names, feeds)
    cotangents = {
        f"{name}_cotangent": np.ones(y.shape, np.float32) for name, y in zip(names, expected, strict=True)
    }
    *found, x_gradient = session.run([*names, "x_gradient"], feeds | cotangents)
    for y, value in zip(expected, found, strict=True):
        np.testing.assert_allclose(value, y, atol=1e-5)
    assert x_gradient.shape == feeds["x"].shape
    # Behind a sample's end nothing has an effect.
    np.testing.assert_array_equal(x_gradient[1, 1:], 0)
    assert np.abs(x_gradient[1, 0]).min() > 0
