"""Subgraphs that read axes and shapes of the graphs around them."""

import numpy as np
import onnx
from onnx import TensorProto, helper
from support.small_models import build

from onnxattr.compile.gradient import vjp
from onnxattr.testing import check_vjp


def scan_model() -> onnx.ModelProto:
    """y[t] = (x[t] as a column) times the row w, with both axes captured, one of them two graphs away."""
    then = helper.make_graph(
        [helper.make_node("Unsqueeze", ["x_t", "last"], ["column"])],
        "then",
        [],
        [helper.make_tensor_value_info("column", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Reshape", ["x_t", "shape"], ["turned"])],
        "else",
        [],
        [helper.make_tensor_value_info("turned", TensorProto.FLOAT, None)],
    )
    body = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["w", "first"], ["row"]),
            helper.make_node("If", ["yes"], ["matrix"], then_branch=then, else_branch=other),
            helper.make_node("MatMul", ["matrix", "row"], ["y_t"]),
        ],
        "body",
        [helper.make_tensor_value_info("x_t", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y_t", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Constant", [], ["last"], value_ints=[-1]),
        helper.make_node("Scan", ["x"], ["stack"], num_scan_inputs=1, body=body),
        helper.make_node("MatMul", ["stack", "z"], ["y"]),
    ]
    inputs = {"x": [3, 4], "w": [5], "z": [5, 2], "yes": ([], TensorProto.BOOL)}
    return build(nodes, inputs, {"y": [3, 4, 2]}, {"first": [0], "shape": [4, 1]})


def test_gradient_through_ranks_that_captured_constants_decide():
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=size).astype(np.float32) for name, size in
             {"x": (3, 4), "w": (5,), "z": (5, 2)}.items()}  # fmt: skip
    check_vjp(scan_model(), feeds | {"yes": np.array(True)}, runtime="onnxruntime")


def test_the_given_model_stays_as_it_was():
    model = scan_model()
    before = model.SerializeToString()
    vjp(model, "x")
    assert model.SerializeToString() == before
