"""Makes a model with a fixed batch dynamic, where that is provably the same computation row by row.

The proof is a walk over the graph: every value that depends on an input must have the batch as its first axis, and
every operator on the way must treat rows alike and apart. What is not in the tables below counts as not proven.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from onnxattr.loading.known_values import KnownArrays
from onnxattr.loading.opsets import OPSET
from onnxattr.subgraphs import subgraphs_of
from onnxattr.values import dims_of

_ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout Elu Equal
    Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual
    Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign
    Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """.split()
)
#: Operators on (N, C, ...) whose other inputs are weights.
_IMAGES = frozenset(
    """
    AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool
    GroupNormalization InstanceNormalization LRN LpPool MaxPool SpaceToDepth
    """.split()
)
#: Operators with one axis attribute that must not be the batch, and its default.
_ONE_AXIS = {
    "ArgMax": 0, "ArgMin": 0, "Concat": 0, "Flatten": 1, "Hardmax": -1, "LayerNormalization": -1, "LogSoftmax": -1,
    "Softmax": -1, "Split": 0, "TopK": -1, "LpNormalization": -1, "RMSNormalization": -1,
}  # fmt: skip
_SHAPE_FREE = "N"


def free_batch(graph: ir.Graph) -> bool:
    """Gives the inputs of a graph a dynamic first axis if all have the same fixed one and the proof succeeds.

    Args:
        graph: Changed in place: dimensions of values, and the constants of Reshapes that wrote the batch down.

    Returns:
        Whether the graph was changed.
    """
    inputs = [value for value in graph.inputs if dims_of(value)]
    sizes = {(dims_of(value) or [None])[0] for value in inputs}
    if len(sizes) != 1 or not isinstance(batch := next(iter(sizes)), int):
        return False
    rows: set[ir.Value] = set(inputs)
    shapes: set[ir.Value] = set()
    reshapes = []
    known = KnownArrays(graph.opset_imports.get("", OPSET))
    for node in graph:
        if _is_shape_arithmetic(node, known):
            shapes.update(node.outputs)
            continue
        if any(
            value in shapes and (node.op_type, index) != ("Reshape", 1)
            for index, value in enumerate(node.inputs)
        ):
            return False
        if not any(value in rows for value in node.inputs if value is not None):
            if subgraphs_of(node):
                return False
            continue
        if not _keeps_rows(node, rows, batch):
            return False
        if node.op_type == "Reshape":
            reshapes.append(node)
        rows.update(node.outputs)
    if not all(value in rows for value in graph.outputs):
        return False
    for node in reshapes:
        _free_reshape(graph, node)
    for value in shapes:
        value.const_value = None
    for value in rows:
        dims = dims_of(value)
        if dims:
            value.shape = ir.Shape([_SHAPE_FREE, *dims[1:]])
    return True


def _is_shape_arithmetic(node: ir.Node, known: KnownArrays) -> bool:
    """Whether a node computes with shapes alone; its result, known because all shapes are, is noted on its output."""
    array = known(node.outputs[0]) if len(node.outputs) == 1 else None
    if array is None or array.dtype.kind not in "iub":
        return False
    node.outputs[0].const_value = ir.tensor(array)
    return True


def _keeps_rows(node: ir.Node, rows: set[ir.Value], batch: int) -> bool:
    """Whether a node that reads rows gives rows, each from its own row alone."""
    for value in node.outputs:
        dims = dims_of(value)
        if value.name and (not dims or dims[0] != batch):
            return False
    first, others = node.inputs[0], [value for value in node.inputs[1:] if value is not None]
    if node.op_type in _ELEMENTWISE:
        rank = len(dims_of(node.outputs[0]) or [])
        return all(_broadcasts(value, rows, rank) for value in node.inputs if value is not None)
    if node.op_type == "Concat":
        return all(value in rows for value in node.inputs) and _axis(node, 0) != 0
    if node.op_type == "Gather" and first not in rows:
        return node.attributes.get_int("axis", 0) == 0
    if node.op_type == "MatMul":
        return _matmul(node, rows)
    if first not in rows or any(value in rows for value in others):
        return False
    if node.op_type in _IMAGES:
        return True
    if node.op_type in _ONE_AXIS:
        return _axis(node, _ONE_AXIS[node.op_type]) != 0 and (
            node.op_type != "Flatten" or _axis(node, 1) == 1
        )
    check = _CHECKS.get(node.op_type)
    return check is not None and check(node)


def _broadcasts(value: ir.Value, rows: set[ir.Value], rank: int) -> bool:
    dims = dims_of(value)
    if dims is None:
        return False
    return len(dims) == rank if value in rows else len(dims) < rank or dims[0] == 1


def _axis(node: ir.Node, default: int) -> int:
    axis, rank = node.attributes.get_int("axis", default), len(dims_of(node.inputs[0]) or [])
    return axis + rank if axis < 0 else axis


def _matmul(node: ir.Node, rows: set[ir.Value]) -> bool:
    a, b = node.inputs
    rank_a, rank_b = len(dims_of(a) or []), len(dims_of(b) or [])
    if a in rows and b in rows:
        return rank_a == rank_b >= 3
    row_rank, other = (rank_a, b) if a in rows else (rank_b, a)
    other_dims = dims_of(other) or []
    apart = len(other_dims) < row_rank or (len(other_dims) == row_rank and other_dims[0] == 1)
    return (row_rank >= 3 and apart) or (row_rank == 2 and a in rows and rank_b == 2)


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _reshape(node: ir.Node) -> bool:
    shape, dims, source = _constant(node, 1), dims_of(node.outputs[0]) or [], dims_of(node.inputs[0]) or []
    known = all(isinstance(dim, int) for dim in [*dims, *source])
    return shape is not None and known and len(dims) > 0 and _count(dims[1:]) == _count(source[1:])


def _count(dims: list[int | str | None]) -> int:
    return math.prod(dim for dim in dims if isinstance(dim, int))


def _axes_above_zero(node: ir.Node, index: int = 1, of_output: bool = False) -> bool:
    axes = _constant(node, index)
    value = node.outputs[0] if of_output else node.inputs[0]
    rank = len(dims_of(value) or [])
    return axes is not None and axes.size > 0 and all(int(axis) % rank != 0 for axis in axes)


def _gemm(node: ir.Node) -> bool:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    dims = (dims_of(bias) or []) if bias is not None else []
    return not node.attributes.get_int("transA", 0) and (len(dims) < 2 or dims[0] == 1)


def _pad(node: ir.Node) -> bool:
    pads = _constant(node, 1)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return _axes_above_zero(node, 3)
    return pads is not None and pads[0] == 0 and pads[len(pads) // 2] == 0


def _resize(node: ir.Node) -> bool:
    scales, sizes = _constant(node, 2), _constant(node, 3)
    axes = node.attributes.get_ints("axes")
    if axes is not None:
        return all(axis % len(dims_of(node.inputs[0]) or [1]) for axis in axes)
    return scales is not None and scales.size > 0 and scales[0] == 1 and sizes is None


def _gather(node: ir.Node) -> bool:
    return _axis(node, 0) != 0


def _transpose(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm")
    return perm is not None and perm[0] == 0


def _tile(node: ir.Node) -> bool:
    repeats = _constant(node, 1)
    return repeats is not None and repeats[0] == 1


_CHECKS = {
    "Gather": _gather,
    "Gemm": _gemm,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": lambda node: _axes_above_zero(node, 3),
    "Squeeze": _axes_above_zero,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": lambda node: _axes_above_zero(node, of_output=True),
} | {
    f"Reduce{kind}": _axes_above_zero
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
}


def _free_reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Writes the static rest of a Reshape's target down, and leaves the batch to be inferred."""
    dims = dims_of(node.outputs[0]) or []
    name = f"{node.outputs[0].name}_shape_without_batch"
    while name in graph.initializers:
        name += "_"
    array = np.array([-1, *dims[1:]], np.int64)
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([len(dims)]),
        const_value=ir.tensor(array),
    )
    graph.register_initializer(value)
    node.replace_input_with(1, value)
