"""Kernels that interpolate between pixels, as nodes."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

#: Keys' cubic kernel, with the coefficient of TensorFlow and Pillow.
_A = -0.5


def kernel(op: OpBuilder, distance: ir.Value, method: str) -> ir.Value:
    """The weight of a pixel at a distance, not negative, in units of the kernel.

    Args:
        op: Builder on the graph.
        distance: The distances.
        method: "bilinear", 1 - d up to 1; "bicubic", Keys' kernel: (a + 2) d^3 - (a + 3) d^2 + 1 up to 1,
            a (d^3 - 5 d^2 + 8 d - 4) up to 2, then 0.
    """
    d = distance
    if method == "bilinear":
        return op.Max(op.Sub(1.0, d), 0.0)
    near = op.Add(op.Mul(op.Mul(op.Sub(op.Mul(d, _A + 2.0), _A + 3.0), d), d), 1.0)
    far = op.Sub(op.Mul(op.Add(op.Mul(op.Sub(op.Mul(d, _A), 5.0 * _A), d), 8.0 * _A), d), 4.0 * _A)
    return op.Where(op.Less(d, 1.0), near, op.Where(op.Less(d, 2.0), far, 0.0))
