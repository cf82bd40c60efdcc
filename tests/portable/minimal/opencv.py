"""Minimal files for OpenCV."""

import numpy as np
import onnx
from onnx.parser import parse_model
from support.small_models import build, node


def nine_in_a_row():
    """A convolution along one axis, of nine elements and two channels."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 2, 1, 9)).astype(np.float32)
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[0, 4, 0, 4])]
    feeds = {"x": rng.standard_normal((2, 2, 1, 20)).astype(np.float32)}
    return build(nodes, {"x": ["N", 2, 1, 20]}, {"y": ["N", 4, 1, 20]}, {"w": kernel}), feeds


def shared_start():
    """Two sums over three steps, both from one start."""
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[2,3] x) => (float[4,3] y)
        <int64 steps = {3}, bool go = {1}, float zero = {0}, float two = {2}> {
          sizes = Shape (x)
          start = Expand (zero, sizes)
          u, v = Loop (steps, go, start, start) <body = b (int64 i, bool c, float[2,3] s, float[2,3] t) =>
            (bool d, float[2,3] k, float[2,3] l) { d = Identity (c) k = Add (s, x) l = Add (t, two) }>
          y = Concat <axis = 0> (u, v)
        }"""
    )
    # OpenCV ends the process on booleans that are not held as bytes.
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    return model, {"x": np.float32([[-3, -1, 0], [1, 2, 3]])}


def scan():
    """A sum along the first axis, step by step."""
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[2,3] x, float[3] start) => (float[3] y) {
          y = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] row) => (float[3] t) {
            t = Add (s, row) }> (start, x)
        }"""
    )
    return model, {"x": np.float32([[-3, -1, 0], [1, 2, 3]]), "start": np.zeros(3, np.float32)}


#: By the names in the table.
MINIMAL = {"nine_in_a_row": nine_in_a_row, "shared_start": shared_start, "scan": scan}
