"""Minimal files for WebGPU's provider of ONNX Runtime."""

from functools import partial

import numpy as np
from onnx.parser import parse_model

#: Operators of several inputs that have a kernel.
READ_ON_DEVICE = [
    "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "PRelu", "Pow",
    "Sub", "Where",
]  # fmt: skip
ANGLES = np.linspace(0, 2 * np.pi, 100_001, dtype=np.float32)

#: The constant is on the device for the Mul outside; the node inside the loop reads it as an argument.
_LOOP = """<ir_version: 8, opset_import: ["" : 18]>
main (float[2,5,4] x) => (float[2,5,4] y)
<float c = {{0.75}}, int64[6] pads = {{0, 1, 0, 0, -1, 0}}, int64 trips = {{3}}, bool go = {{1}}> {{
  start = Mul (x, c)
  y = Loop (trips, go, start) <body = body (int64 i, bool on, float[2,5,4] s) => (bool still, float[2,5,4] out) {{
    still = Identity (on)
    inside = {node}
    out = Add (s, inside)
  }}>
}}"""


def of_each(operator, values=ANGLES):
    """An operator on each of some numbers."""
    model = parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> main (float[n] x) => (float[n] y) {{ y = {operator} (x) }}'
    )
    return model, {"x": np.float32(values)}


def in_loop(written):
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    return parse_model(_LOOP.format(node=written)), {"x": x}


def tanh_behind_conv():
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[1,1,1,4] x) => (float[1,1,1,4] y)
        <float[1,1,1,1] w = {1}> { c = Conv (x, w) y = Tanh (c) }"""
    )
    return model, {"x": np.float32([-100, -1, 1, 89]).reshape(1, 1, 1, 4)}


def log_sum_exp():
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[2,2] x) => (float[2,1] y)
        <int64[1] last = {1}> { y = ReduceLogSumExp (x, last) }"""
    )
    return model, {"x": np.float32([[1, 2], [1, 89]])}


def beside_fill(operator):
    """A Pad outside takes the constant as its fill, and so has it on the host; a node inside the loop reads it."""
    written = "Where (some, s, c)" if operator == "Where" else f"{operator} (s, c)"
    model = parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> main (float[2,5,4] x) => (float[2,5,4] y)
        <float c = {{0.75}}, int64[6] pads = {{0, 1, 0, 0, -1, 0}}, int64 trips = {{3}}, bool go = {{1}}> {{
          start = Pad (x, pads, c)
          some = Greater (start, x)
          y = Loop (trips, go, start) <
          body = body (int64 i, bool on, float[2,5,4] s) => (bool still, float[2,5,4] out) {{
            still = Identity (on)
            inside = {written}
            number = Cast <to = 1> (inside)
            out = Add (s, number)
          }}>
        }}"""
    )
    return model, {"x": np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)}


MINIMAL = {
    "sin": lambda: of_each("Sin"),
    "cos": lambda: of_each("Cos"),
    "tan": lambda: of_each("Tan", np.linspace(-1.4, 1.4, 10_001)),
    "acos": lambda: of_each("Acos", np.linspace(-1, 1, 10_001)),
    "asinh": lambda: of_each("Asinh", [-1e4, -1, 0, 1, 1e4]),
    "log_sum_exp": log_sum_exp,
    **{f"{operator.lower()}_in_loop": partial(beside_fill, operator) for operator in READ_ON_DEVICE},
    "pad_in_loop": lambda: in_loop("Pad (x, pads, c)"),
    "tanh_behind_conv": tanh_behind_conv,
    "clip_in_loop": lambda: in_loop("Clip (x, , c)"),
}
