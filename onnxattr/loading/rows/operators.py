"""Which rows the results of operators depend on that compute: see row_independence, and row_movement for the form."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.loading.rows.einsum import einsum
from onnxattr.loading.rows.movement import MOVEMENT, Handler, Result, axis_of
from onnxattr.loading.rows.sets import UNSEEN, aligned, at_axis, near, nothing, over, union

#: Operators that compute each element from those at its place, all operands broadcasting.
ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
    ThresholdedRelu Where Xor
    """.split()
)
#: Operators of ai.onnx.ml that take the rows of a table one by one.
_TABLES = frozenset(
    """
    ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder LinearClassifier
    LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier
    TreeEnsembleRegressor
    """.split()
)


def handler_of(node: Any) -> Handler | None:
    """The function that knows an operator; None for those that nothing is known of."""
    if node.domain in ("", "ai.onnx"):
        return _OPERATORS.get(node.op_type)
    return _table if node.domain == "ai.onnx.ml" and node.op_type in _TABLES else None


def _others(seen: Any, start: int = 1) -> np.ndarray:
    """Weights as a number: what depends on no row, or cannot be seen through."""
    rest = [value.rows for value in seen[start:] if value is not None]
    flat = [near(rows.reshape(-1), [0]) for rows in rest]
    read: np.ndarray = union([nothing(1), *flat])[0]
    return read


def _over_axis(default: int) -> Handler:
    """Along one axis all elements depend on all."""

    def handler(node: Any, seen: Any, shapes: Any) -> Result:
        return [over(seen[0].rows, [axis_of(node, default, len(seen[0].shape))])] * len(shapes)

    return handler


def _arg(node: Any, seen: Any, shapes: Any) -> Result:
    axis = axis_of(node, 0, len(seen[0].shape))
    rows = over(seen[0].rows, [axis])
    return [rows if node.attributes.get_int("keepdims", 1) else np.squeeze(rows, axis)]


def _reduce(node: Any, seen: Any, shapes: Any) -> Result:
    rank = len(seen[0].shape)
    given = seen[1].known if len(seen) > 1 and seen[1] is not None else node.attributes.get_ints("axes")
    if given is None and len(seen) > 1 and seen[1] is not None:
        return None
    if given is None or len(given) == 0:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            return [seen[0].rows]
        given = range(rank)
    axes = tuple(int(axis) % rank for axis in given)
    rows = over(seen[0].rows, axes)
    return [rows if node.attributes.get_int("keepdims", 1) else np.squeeze(rows, axes)]


def _cumulative(node: Any, seen: Any, shapes: Any) -> Result:
    if seen[1].known is None:
        return None
    return [over(seen[0].rows, [int(seen[1].known.reshape(-1)[0])])]


def _normalised(node: Any, seen: Any, shapes: Any) -> Result:
    """LayerNormalization and its kin: over the axes from ``axis`` on."""
    rank = len(seen[0].shape)
    rows = over(seen[0].rows, range(axis_of(node, -1, rank), rank))
    weights = union([nothing(rank), *(aligned(v.rows, rank) for v in seen[1:] if v is not None)])
    return [rows | weights, *[rows] * (len(shapes) - 1)]


def _matmul(node: Any, seen: Any, shapes: Any) -> Result:
    a, b = (value.rows for value in seen[:2])
    a = over(a, [-1]) if a.ndim > 1 else over(a, [0]).reshape(1, 1)
    b = over(b, [-2]) if b.ndim > 1 else over(b, [0]).reshape(1, 1)
    rank = max(a.ndim, b.ndim)
    rows = aligned(a, rank) | aligned(b, rank)
    if len(seen[0].shape) == 1:
        rows = rows[..., 0, :] if len(seen[1].shape) > 1 else rows[..., 0, 0]
    elif len(seen[1].shape) == 1:
        rows = rows[..., 0]
    return [rows | _others(seen, 2)]


def _gemm(node: Any, seen: Any, shapes: Any) -> Result:
    a, b = (value.rows for value in seen[:2])
    a = a.T if node.attributes.get_int("transA", 0) else a
    b = b.T if node.attributes.get_int("transB", 0) else b
    parts, added = [over(a, [1]), over(b, [0])], [value for value in seen[2:] if value is not None]
    if any(np.broadcast_shapes(value.shape, shapes[0]) != shapes[0] for value in added):
        return None
    return [union([*parts, *(aligned(value.rows, 2) for value in added)])]


def _windows(node: Any, seen: Any, shapes: Any) -> Result:
    """Convolutions and pools of (N, C, ...): axes along which windows are single elements stay as they are."""
    rows, rank = seen[0].rows, len(seen[0].shape)
    kernel = node.attributes.get_ints("kernel_shape") or (seen[1].shape[2:] if len(seen) > 1 else ())
    convolves = node.op_type.startswith("Conv")
    if convolves:
        grouped = node.attributes.get_int("group", 1) > 1
        rows = near(rows, [1]) if grouped else over(rows, [1])
    for axis in range(2, rank):
        single = kernel[axis - 2] == 1 and seen[0].shape[axis] == shapes[0][axis]
        if not single:
            rows = over(rows, [axis]) if kernel[axis - 2] > 1 else near(rows, [axis])
    # The second output of MaxPool counts elements of the whole batch.
    return [rows | _others(seen), *[rows | np.uint8(UNSEEN)] * (len(shapes) - 1)]


def _over_space(node: Any, seen: Any, shapes: Any) -> Result:
    """Global pools and InstanceNormalization: over the axes after the channels."""
    rank = len(seen[0].shape)
    if any(value.shape != seen[0].shape[1:2] for value in seen[1:]):
        return None
    return [over(seen[0].rows, range(2, rank)) | _others(seen)]


def _over_sample(node: Any, seen: Any, shapes: Any) -> Result:
    """Over all axes but the first, roughly."""
    return [near(seen[0].rows, range(1, len(seen[0].shape))) | _others(seen)] * len(shapes)


def _batch_normalised(node: Any, seen: Any, shapes: Any) -> Result:
    x, rank = seen[0].rows, len(seen[0].shape)
    weights = [at_axis(v.rows, 1 if rank > 1 else 0, rank) for v in seen[1:]]
    if not node.attributes.get_int("training_mode", 0):
        return [union([x, *weights])]
    x = over(x, [axis for axis in range(rank) if axis != 1])
    statistics = over(x, [axis for axis in range(rank) if axis != 1]).reshape(-1)
    return [union([x, *weights]), *[statistics] * (len(shapes) - 1)]


def _resize(node: Any, seen: Any, shapes: Any) -> Result:
    changed = [axis for axis, n in enumerate(seen[0].shape) if shapes[0][axis] != n]
    return [near(seen[0].rows, changed)]


def _recurrent(node: Any, seen: Any, shapes: Any) -> Result:
    """LSTM, GRU and RNN of (time, N, features): over time and features."""
    batch = over(seen[0].rows, [0, 2]).reshape(-1)
    for place in (4, 5, 6):
        value = seen[place] if len(seen) > place else None
        if value is not None:
            rank = len(value.shape)
            batch = batch | over(value.rows, [0, 2]).reshape(-1) if rank == 3 else batch | value.rows
            if value.shape[1 if rank == 3 else 0] != seen[0].shape[1]:
                return None
    batch = batch | _others([None, *seen[1:4], *seen[7:]])
    return [at_axis(batch, 2 if len(shape) == 4 else 1, len(shape)) if shape else batch for shape in shapes]


def _grid_sample(node: Any, seen: Any, shapes: Any) -> Result:
    rank = len(seen[0].shape)
    x, grid = near(seen[0].rows, range(2, rank)), over(seen[1].rows, [-1])[..., 0]
    return [x | np.expand_dims(grid, 1)]


def _batchwise(node: Any, seen: Any, shapes: Any) -> Result:
    """Operators that treat the first axis of all operands that depend on rows as a batch."""
    parts = []
    for value in seen:
        if value is not None and value.rows.any():
            if not value.shape or value.shape[0] != shapes[0][0]:
                return None
            parts.append(near(value.rows, range(1, len(value.shape))).reshape(-1))
    total = union([nothing(1), *parts])
    return [at_axis(total, 0, len(shape)) for shape in shapes]


def _fourier(node: Any, seen: Any, shapes: Any) -> Result:
    rank = len(seen[0].shape)
    given = seen[2].known if len(seen) > 2 and seen[2] is not None else None
    axis = int(given) if given is not None else node.attributes.get_int("axis", 1 if len(seen) < 3 else -2)
    return [over(seen[0].rows, [axis % rank, rank - 1])]


def _quantized(node: Any, seen: Any, shapes: Any) -> Result:
    """QuantizeLinear and DequantizeLinear: scales are weights, or of one row."""
    return [seen[0].rows | _others(seen)]


def _all(node: Any, seen: Any, shapes: Any) -> Result:
    """Everything depends on everything: the range that DynamicQuantizeLinear measures."""
    total = over(seen[0].rows, range(seen[0].rows.ndim))
    return [total.reshape((1,) * len(shape)) for shape in shapes]


def _table(node: Any, seen: Any, shapes: Any) -> Result:
    if node.op_type == "ArrayFeatureExtractor":
        return [near(seen[0].rows, [-1]) | _others(seen)]
    parts = [over(value.rows, range(1, value.rows.ndim)).reshape(-1) for value in seen if value.rows.ndim > 0]
    total = union([nothing(1), *parts])
    return [at_axis(total, 0, len(shape)) for shape in shapes]


def _determinant(node: Any, seen: Any, shapes: Any) -> Result:
    return [over(seen[0].rows, [-1, -2])[..., 0, 0]]


def _depth_and_space(node: Any, seen: Any, shapes: Any) -> Result:
    return [near(seen[0].rows, [1, 2, 3])]


_OPERATORS: dict[str, Handler] = MOVEMENT | {
    "AffineGrid": _batchwise,
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Attention": _batchwise,
    "AveragePool": _windows,
    "BatchNormalization": _batch_normalised,
    "Conv": _windows,
    "ConvTranspose": _windows,
    "Col2Im": _batchwise,
    "CumProd": _cumulative,
    "CumSum": _cumulative,
    "DFT": _fourier,
    "DepthToSpace": _depth_and_space,
    "Det": _determinant,
    "DequantizeLinear": _quantized,
    "DynamicQuantizeLinear": _all,
    "Einsum": einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "GlobalAveragePool": _over_space,
    "GlobalLpPool": _over_space,
    "GlobalMaxPool": _over_space,
    "GridSample": _grid_sample,
    "GroupNormalization": _over_sample,
    "Hardmax": _over_axis(-1),
    "InstanceNormalization": _over_space,
    "LRN": lambda node, seen, shapes: [near(seen[0].rows, [1])],
    "LSTM": _recurrent,
    "LayerNormalization": _normalised,
    "LogSoftmax": _over_axis(-1),
    "LpNormalization": _over_axis(-1),
    "LpPool": _windows,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "MaxPool": _windows,
    "MeanVarianceNormalization": lambda node, seen, shapes: [
        over(seen[0].rows, node.attributes.get_ints("axes", [0, 2, 3]))
    ],
    "QuantizeLinear": _quantized,
    "RMSNormalization": _normalised,
    "RNN": _recurrent,
    "Resize": _resize,
    "STFT": _batchwise,
    "Softmax": _over_axis(-1),
    "SpaceToDepth": _depth_and_space,
    "TensorScatter": _batchwise,
    "TopK": _over_axis(-1),
}
_OPERATORS |= {
    f"Reduce{kind}": _reduce
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
}
