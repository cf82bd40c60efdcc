"""Files whose declared shapes are not those that they compute: ONNX Runtime runs them with a warning."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_models import build, node

from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

NODES = [node("Tanh", ["x"], ["wide"]), node("Reshape", ["wide", "shape"], ["y"])]


@pytest.mark.parametrize(
    ("output", "inside"),
    [([3], None), ([7, 2], None), ([3, 2], [1, 5]), ([3], [6])],
    ids=["rank", "size", "size inside", "both"],
)
def test_what_the_nodes_compute_is_believed(output, inside):
    model = build(NODES, {"x": [1, 6]}, {"y": output}, {"shape": np.array([3, 2])})
    if inside:
        model.graph.value_info.append(onnx.helper.make_tensor_value_info("wide", 1, inside))
    loaded = ir.serde.serialize_model(load(model))
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*loaded.graph.output, *loaded.graph.value_info]
    }
    assert shapes["y"] == [3, 2]
    assert shapes["wide"] == [1, 6]
    check_vjp(loaded, {"x": np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)})
