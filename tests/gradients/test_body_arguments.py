"""Arguments of nodes inside loops and branches are constants of the graph that the node is in."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.parser import parse_model as parse

from models import digits, emotion
from onnxattr import IntegratedGradients, SmoothGrad
from onnxattr.compile.body_arguments import own_arguments
from onnxattr.graph.subgraphs import bodies_of

#: The bound 0 of the Clip and the fill of the Pad are read outside too; the branch is inside the loop.
NESTED = """<ir_version: 8, opset_import: ["" : 18]>
main (float[2,3] x, bool odd) => (float[2,3] y)
<float zero = {0.5}, float high = {0.75}, int64[4] pads = {0, 1, 0, -1}, int64 trips = {2}, bool go = {1}> {
  start = Mul (x, zero)
  y = Loop (trips, go, start) <body = body (int64 i, bool on, float[2,3] s) => (bool still, float[2,3] out) {
    still = Identity (on)
    clipped = Clip (s, zero, high)
    out = If (odd) <
      then_branch = then () => (float[2,3] a) { a = Pad (clipped, pads, zero) },
      else_branch = other () => (float[2,3] b) { b = Clip (x, , high) }
    >
  }>
}"""


def arguments(graph, inside=False):
    """(node, name of an argument, names of the initializers of the node's own graph) of Clip and Pad in bodies."""
    own = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if inside and node.op_type in ("Clip", "Pad"):
            positions = (1, 2) if node.op_type == "Clip" else (2,)
            yield from (
                (node, name, own) for p in positions if p < len(node.input) and (name := node.input[p])
            )
        for body in bodies_of(node):
            yield from arguments(body, True)


def test_arguments_of_nested_bodies_are_copied_and_the_numbers_stay():
    model = parse(NESTED)
    feeds = [
        {"x": np.float32([[0.1, 2.0, 3.0], [0.4, 0.6, -5.0]]), "odd": np.array(odd)} for odd in (True, False)
    ]
    before = [onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0] for feed in feeds]
    own_arguments(model.graph)
    onnx.checker.check_model(model, full_check=True)
    after = [onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0] for feed in feeds]
    np.testing.assert_array_equal(before, after)
    found = list(arguments(model.graph))
    assert len(found) == 4
    assert all(name in own for _, name, own in found)
    names = [t.name for graph in bodies(model.graph) for t in graph.initializer]
    assert len(set(names)) == len(names)
    # Nothing outside reads "high": a runtime would warn of it.
    assert [t.name for t in model.graph.initializer] == ["zero", "pads", "trips", "go"]


def bodies(graph):
    yield graph
    for node in graph.node:
        for body in bodies_of(node):
            yield from bodies(body)


#: Behind a product, so that the loop computes all of it at each point.
BORDER = """<ir_version: 8, opset_import: ["" : 18]> main (float[N,3] x) => (float[N,4] y)
<float fill = {0.5}, float high = {0.75}, int64[4] pads = {0, 1, 0, 0}> {
   square = Mul (x, x)
   bounded = Clip (square, fill, high)
   y = Pad (bounded, pads, fill)
}"""


@pytest.mark.parametrize(
    ("model", "layer", "method"),
    [
        (digits.ONNX_FILE, -2, IntegratedGradients),
        (digits.ONNX_FILE, -2, SmoothGrad),
        (emotion.ONNX_FILE, -2, IntegratedGradients),
        (parse(BORDER), None, IntegratedGradients),
        (parse(BORDER), None, SmoothGrad),
    ],
)
def test_exported_loops_hold_the_arguments_of_their_nodes(model, layer, method, tmp_path):
    # Without rewrites: the gradients of max-pools are padded.
    method(model, layer, 2, rewrites=[]).export(tmp_path / "loop.onnx", "loop")
    found = list(arguments(onnx.load(tmp_path / "loop.onnx").graph))
    assert found
    assert [node.op_type for node, name, own in found if name not in own] == []
