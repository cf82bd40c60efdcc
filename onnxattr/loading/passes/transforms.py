"""Fourier transforms of float32, written as products with a matrix that is known before a run.

Where the length is no power of two ONNX Runtime computes them in float32 by a detour, up to 1e-4 of the largest value
off, which a logarithm makes more of, and up to fifty times as long; some frame lengths of STFT end its process. Powers
of two are exact and fast there, and stay.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of, take_place
from onnxattr.graph.values import dims_of, ints_of
from onnxattr.loading.shapes.infer import DECLARED_SIZES

#: The matrix of one of so many points has 64 MiB.
_MOST_POINTS = 4096


def multiply_out_transforms(model: ir.Model, rules: RuleTable = STANDARD) -> bool:
    """Writes DFT and STFT as products, in subgraphs too, in place; whether there were any.

    Those of other types, of lengths that a run decides and of powers of two stay, and those that ``rules`` has a rule
    of its own for. So do all of a model whose inner sizes are known from its declarations alone, which may be wrong.
    """
    if not any(is_standard(node, "DFT", "STFT") for node in nodes_of(model.graph)) or model.meta.get(
        DECLARED_SIZES
    ):
        return False
    main, found = OpBuilder(model.graph, model.opset_imports[""], prefix="transforms"), False
    for part in list(graphs_of(model.graph)):
        op = main.inside(part)
        for node in list(part):
            if is_standard(node, "DFT", "STFT") and rules.get(node.op_type) is STANDARD.get(node.op_type):
                found = (_dft if node.op_type == "DFT" else _stft)(op, part, node) or found
    return found


def _dft(op: OpBuilder, part: ir.Graph, node: ir.Node) -> bool:
    """y = x M, with x as rows (..., size * components) and y as rows (..., frequencies * components)."""
    x, given = node.inputs[0], [*node.inputs[1:], None, None]
    dims, length = dims_of(x), ints_of(given[0])
    where = [node.attributes.get_int("axis", 1)] if op.opset < 20 else ints_of(given[1]) or [-2]
    if x is None or dims is None or (given[0] is not None) != bool(length) or _is_unknown(given[1]):
        return False
    axis, last = where[0] % len(dims), len(dims) - 2
    size, components = dims[axis], dims[-1]
    inverse, onesided = (bool(node.attributes.get_int(name, 0)) for name in ("inverse", "onesided"))
    if not (isinstance(size, int) and components in (1, 2)):
        return False
    points = length[0] if length else 2 * (size - 1) if inverse and onesided else size
    if not _is_rewritten(x, max(points, size), points):
        return False
    end = part[-1]
    turned = list(range(len(dims)))
    turned[axis], turned[last] = last, axis
    moved = op.Transpose(x, perm=turned) if axis != last else x
    matrix = _as_matrix((size, int(components)), lambda rows: _transformed(rows, points, inverse, onesided))
    rows = op.Reshape(moved, [0] * last + [-1])
    product = op.MatMul(rows, op.constant(matrix.reshape(len(matrix), -1)))
    result = op.Reshape(product, [0] * last + list(matrix.shape[1:]))
    result = op.Transpose(result, perm=turned) if axis != last else result
    take_place(node, result, end, product.producer())
    return True


def _stft(op: OpBuilder, part: ir.Graph, node: ir.Node) -> bool:
    """y = the convolution of x with windowed waves, at each frame step."""
    (x, step, window, length), dims = [*node.inputs, None, None][:4], dims_of(node.inputs[0])
    components = 1 if dims and len(dims) == 2 else dims[-1] if dims and len(dims) == 3 else None
    steps, lengths = ints_of(step), ints_of(length)
    if x is None or components not in (1, 2) or not steps or _is_unknown(window) or _is_unknown(length):
        return False
    weights = None if window is None or window.const_value is None else window.const_value.numpy()
    points = lengths[0] if lengths else 0 if weights is None else len(weights)
    if (
        steps[0] < 1
        or (weights is not None and len(weights) != points)
        or not _is_rewritten(x, points, points)
    ):
        return False
    onesided, end = bool(node.attributes.get_int("onesided", 1)), part[-1]
    matrix = _as_matrix((points, int(components)), lambda rows: _transformed(rows, points, False, onesided))
    waves = matrix.reshape(points, int(components), -1)
    if weights is not None:
        waves = waves * weights[:, None, None].astype(np.float32)
    series = op.Unsqueeze(x, [1]) if dims and len(dims) == 2 else op.Transpose(x, perm=[0, 2, 1])
    kernel = op.constant(np.ascontiguousarray(waves.transpose(2, 1, 0)))
    product = op.Conv(series, kernel, strides=[steps[0]])
    result = op.Reshape(op.Transpose(product, perm=[0, 2, 1]), [0, 0, *matrix.shape[1:]])
    take_place(node, result, end, product.producer())
    return True


def _is_unknown(value: ir.Value | None) -> bool:
    """Whether an operand is there, and its numbers are not known before a run."""
    return value is not None and value.const_value is None


def _is_rewritten(x: ir.Value, most: int, points: int) -> bool:
    return x.dtype == ir.DataType.FLOAT and 0 < most <= _MOST_POINTS and points & (points - 1) > 0


def _transformed(rows: np.ndarray, points: int, inverse: bool, onesided: bool) -> np.ndarray:
    """The transform of rows of complex numbers, (rows, size), as (rows, frequencies, components)."""
    if inverse and onesided:
        return np.fft.irfft(rows, points)[..., None]
    found = np.fft.ifft(rows, points) if inverse else np.fft.fft(rows, points)
    found = found[:, : points // 2 + 1] if onesided else found
    return np.stack([found.real, found.imag], -1)


def _as_matrix(shape: tuple[int, int], transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a linear transform makes of each element of a row, (size * components, frequencies, components)."""
    size, components = shape
    units = np.eye(size * components).reshape(-1, size, components)
    return transform(units[..., 0] + (1j * units[..., 1] if components == 2 else 0)).astype(np.float32)
