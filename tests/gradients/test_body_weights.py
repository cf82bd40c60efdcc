"""What Scan bodies read of weights in another layout is computed inside them, with the same bits."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.parser import parse_model as parse
from support.small_models import build, node

from onnxattr import IntegratedGradients, Saliency
from onnxattr.compile.body_weights import own_weights
from onnxattr.graph.subgraphs import bodies_of, graphs_in, nodes_in
from onnxattr.inspection import findings

HEAD = """<ir_version: 8, opset_import: ["" : 18]> main (float[T,2] x, float[2] start) => (float[2] last, float[T,2] y)
<float[1,2,2] r = {1, 2, 3, 4}, int64[1] zero = {0}, int64 trips = {3}, bool go = {1}> {"""
SCAN = """Scan <num_scan_inputs = 1, body = step (float[2] sum, float[2] row) => (float[2] next, float[2] out) {
  product = MatMul (row, %s) next = Add (sum, product) out = Identity (next)
}> (%s, x)"""
MODELS = {
    "a chain, read outside too": """flat = Squeeze (r, zero) turned = Transpose <perm = [1, 0]> (flat)
        begin = MatMul (start, flat) last, y = """ + SCAN % ("turned", "begin") + "}",
    "a constant node": """c = Constant <value = float[2,1,2] {1, 2, 3, 4}> () axis = Constant <value_ints = [1]> ()
        flat = Squeeze (c, axis) last, y = """ + SCAN % ("flat", "start") + "}",
    "one part of several": """size = Constant <value_ints = [1, 1]> () both = Concat <axis = 0> (r, r)
        first, second = Split <axis = 0> (both, size) flat = Squeeze (second, zero) last, y = """
        + SCAN % ("flat", "start") + "}",
    "a Scan in a Loop": """flat = Squeeze (r, zero)
        last, all = Loop (trips, go, start) <body = body (int64 i, bool on, float[2] s) =>
        (bool still, float[2] found, float[T,2] ys) { still = Identity (on) found, ys = """
        + SCAN % ("flat", "s") + """}> y = ReduceMax <keepdims = 0> (all, zero) }""",
    "a branch in a Scan": """flat = Squeeze (r, zero) last, y = Scan <num_scan_inputs = 1,
        body = step (float[2] sum, float[2] row) => (float[2] next, float[2] out) {
        most = ReduceMax <keepdims = 0> (row) least = ReduceMin <keepdims = 0> (sum) more = Less (least, most)
        product = If (more) < then_branch = a () => (float[2] p) { p = MatMul (row, flat) },
          else_branch = b () => (float[2] q) { t = Transpose (flat) q = MatMul (row, t) } >
        next = Add (sum, product) out = Identity (next) }> (start, x) }""",
}  # fmt: skip


def run(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    return session.run(None, {"x": x, "start": np.float32([0.5, -1])})


@pytest.mark.parametrize("name", MODELS)
def test_weights_in_another_layout_are_computed_inside(name):
    model = parse(HEAD + MODELS[name])
    assert [one.reason for one in findings(model, "openvino")]
    before = run(model)
    own_weights(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert [f.tobytes() for f in run(model)] == [f.tobytes() for f in before]
    assert findings(model, "openvino") == []
    produced = [name for graph in graphs_in(model.graph) for node in graph.node for name in node.output]
    assert len(set(produced)) == len(produced)
    # What only the Scan read is gone from the graph around it.
    assert any(node.op_type == "Squeeze" for node in model.graph.node) == (
        name == "a chain, read outside too"
    )


@pytest.mark.parametrize("made", ["flat = Add (start, start)", "flat = Relu (r)"])
def test_what_is_computed_stays_outside(made):
    """Of inputs, or of weights by a computation: it is done once, not in every step."""
    model = parse(HEAD + made + " last, y = " + SCAN.replace("MatMul", "Mul") % ("flat", "start") + "}")
    text = model.SerializeToString(deterministic=True)
    own_weights(model.graph)
    assert model.SerializeToString(deterministic=True) == text
    assert "refused" in [one.happens for one in findings(model, "openvino")]


def recurrent(op, batch, features=3):
    """A recurrent layer of 4 units over 5 steps of some values, in both directions."""
    gates, rng = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], np.random.default_rng(0)
    weights = {
        name: rng.normal(size=(2, gates * 4, width)).astype(np.float32)
        for name, width in (("w", features), ("r", 4))
    }
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node(op, ["steps", "w", "r"], ["", "last"], hidden_size=4, direction="bidirectional"),
        node("ReduceSum", ["last", "axes"], ["y"], keepdims=0),
    ]
    weights["axes"] = np.array([0])
    return build(nodes, {"x": [batch, 5, features]}, {"y": [batch, 4]}, weights)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize(("method", "rendering"), [(Saliency, "batch"), (IntegratedGradients, "loop")])
def test_exported_recurrent_layers_read_weights_alone(op, batch, method, rendering, tmp_path):
    method(recurrent(op, batch), batch_size=2).export(tmp_path / "file.onnx", rendering)
    model = onnx.load(tmp_path / "file.onnx")
    (scan, *_) = [one for one in nodes_in(model.graph) if one.op_type == "Scan" and len(one.output) > 1]
    assert scan.input
    # OpenVINO takes one square matrix for another that is transposed: each product has its own, folded when loaded.
    makers = {name: one for one in nodes_in(model.graph) for name in one.output}
    read = [one.input[1] for body in bodies_of(scan) for one in body.node if one.op_type == "MatMul"]
    assert {makers[name].op_type for name in read} <= {"Neg"}
    assert [one.reason for one in findings(model, "openvino")] == []


@pytest.mark.parametrize(("op", "features"), [("RNN", 4), ("GRU", 12), ("LSTM", 16)])
@pytest.mark.parametrize(("method", "rendering"), [(Saliency, "batch"), (IntegratedGradients, "loop")])
def test_square_matrices_of_inputs_are_read_in_one_way(op, features, method, rendering, tmp_path):
    """OpenVINO's map of the loop of RNN was wrong by its maximum: two products shared the part of w."""
    method(recurrent(op, "N", features), batch_size=2).export(tmp_path / "file.onnx", rendering)
    model = onnx.load(tmp_path / "file.onnx")
    assert [one.reason for one in findings(model, "openvino")] == []
    makers = {name: one for one in nodes_in(model.graph) for name in one.output}
    read = [one.input[1] for one in nodes_in(model.graph) if one.op_type == "MatMul"]
    parts = {name for name in read if name in makers and makers[name].op_type == "Squeeze"}
    turned = {one.input[0] for one in nodes_in(model.graph) if one.op_type == "Transpose"}
    assert not parts & turned
