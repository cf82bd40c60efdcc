"""Other types than float32 on the way, and sizes that are computed: casts, weights of integers, chains of shapes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from onnx import TensorProto

from fuzz.draft import Array, Draft, Value, keep


def _signed(d: Draft, axis: int, rank: int) -> int:
    return axis - rank if d.chance(0.5) else axis


def _cast(d: Draft, name: str, to: int) -> str:
    """The value in another type; by CastLike where the opset has it."""
    if d.opset >= 15 and to in _LIKE and d.chance(0.3):
        return d.node("CastLike", [name, d.constant(np.zeros(1, _LIKE[to]))])
    return d.node("Cast", [name], to=to)


_LIKE = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.INT64: np.int64}


def cast(d: Draft, x: Value) -> Value:
    """A part that is computed in float64, or that goes through integers or booleans and is a step."""
    kind = d.pick("double", "double", "integer", "boolean", "chosen")
    if kind == "double":
        wide = Value(_cast(d, x.name, TensorProto.DOUBLE), x.shape)
        for op in [d.pick("Tanh", "Sigmoid", "Sin", "Exp", "Sqrt", "Neg") for _ in range(d.pick(0, 1, 2))]:
            wide = d.add("Abs", wide) if op == "Sqrt" else wide
            wide = d.add("Add", wide, d.constant(np.float64(0.5))) if op == "Sqrt" else wide
            wide = d.add("Tanh", wide) if op == "Exp" else wide
            wide = d.add(op, wide)
        if d.chance(0.5):
            wide = d.add("Mul", wide, d.constant(d.normal(x.shape[-1]).astype(np.float64)))
        back = _cast(d, wide.name, TensorProto.FLOAT)
        return Value(d.node("Add", [x.name, back]) if d.chance(0.4) else back, x.shape)
    if kind == "integer":
        whole = _cast(
            d,
            d.node("Mul", [x.name, d.constant(np.float32(3))]),
            d.pick(TensorProto.INT64, TensorProto.INT32),
        )
        step = d.node("Cast", [d.node("Cast", [whole], to=TensorProto.INT64)], to=TensorProto.FLOAT)
        return d.add(d.pick("Mul", "Add", "Max"), x, step)
    above = d.node("Greater", [x.name, d.constant(np.float32(d.pick(0.05, -0.35)))])
    if kind == "boolean":
        return d.add(
            "Mul", x, d.node("Cast", [d.node("Cast", [above], to=TensorProto.INT64)], to=TensorProto.FLOAT)
        )
    other = d.add("Sin", x).name if d.chance(0.6) else d.constant(np.float32(0.2))
    return Value(d.node("Where", [d.node("Not", [above]), other, x.name]), x.shape)


def integer_weights(d: Draft, x: Value) -> Value:
    """A product with weights of integers: one scale, or one a column or block, with zero points."""
    if d.opset < 10:
        return there_and_back(d, x)
    width, columns = x.shape[-1], 4
    kinds = ["uint8", "int8"] + (["int4", "uint4", "uint16", "int16"] if d.opset >= 21 else [])
    kind = d.pick(*kinds)
    dtype = getattr(ml_dtypes, kind) if kind.endswith("4") else np.dtype(kind)
    ends = {"int4": (-8, 8), "uint4": (0, 16)}.get(kind, (-100, 100) if kind.startswith("i") else (0, 200))

    def numbers(*shape: int) -> Array:
        return d.rng.integers(*ends, shape).astype(dtype)

    more: dict[str, int] = {}
    shape: tuple[int, ...] = ()
    if d.opset >= 13 and d.chance(0.7):
        shape, more = (columns,), {"axis": _signed(d, 1, 2)}
    if d.opset >= 21 and width % 2 == 0 and d.chance(0.4):
        shape, more = (width // 2, columns), {"axis": _signed(d, 0, 2), "block_size": 2}
    scale = (d.rng.uniform(0.5, 1.5, shape) * 2 / (ends[1] - ends[0])).astype(np.float32)
    given = [d.constant(numbers(width, columns)), d.constant(scale)]
    if d.chance(0.7):
        given.append(d.constant(numbers(*shape)))
    # A product right behind it the runtime computes in integers, with its input rounded.
    w = d.node("Mul", [d.node("DequantizeLinear", given, **more), d.constant(d.normal(columns))])
    if d.chance(0.3):
        w = d.node("Transpose", [d.node("Transpose", [w], perm=[1, 0])], perm=[1, 0])
    return d.add("MatMul", x, w, shape=(*x.shape[:-1], columns))


def _part(d: Draft, shape: str, start: int, stop: int) -> str:
    """Some sizes of a shape, as a vector: by Slice, or by Gather and Unsqueeze or Concat."""
    if d.opset >= 15 and d.chance(0.2):
        return d.node("Slice", [shape, *(d.constant([v], np.int64) for v in (start, stop, 0))])
    if stop - start > 1 or d.chance(0.5):
        return d.node("Gather", [shape, d.constant(np.arange(start, stop))], axis=0)
    one = d.node("Gather", [shape, d.constant(np.int64(start))], axis=0)
    if d.opset >= 13:
        return d.node("Unsqueeze", [one, d.constant([0], np.int64)])
    return d.node("Unsqueeze", [one], axes=[0])


def _product(d: Draft, vector: str) -> str:
    """The product of sizes, as a vector of one."""
    if d.opset < 18:
        return d.node("ReduceProd", [vector], axes=[0], keepdims=1)
    return d.node("ReduceProd", [vector, d.constant([0], np.int64)], keepdims=1)


def there_and_back(d: Draft, x: Value) -> Value:
    """Another shape, of sizes that are computed, and the same again."""
    shape, rank = d.node("Shape", [x.name]), x.rank
    if x.shape[-1] % 2 or d.chance(0.5):
        flat = d.node("Concat", [_part(d, shape, 0, 1), _product(d, _part(d, shape, 1, rank))], axis=0)
        y = d.node(d.pick("Tanh", "Relu", "Sin"), [d.node("Reshape", [x.name, flat])])
        return Value(d.node("Reshape", [y, shape]), x.shape)
    half = d.node("Div", [_part(d, shape, rank - 1, rank), d.constant([2], np.int64)])
    sizes = d.node("Concat", [_part(d, shape, 0, rank - 1), half, d.constant([-1], np.int64)], axis=0)
    y = d.node("Transpose", [d.node("Reshape", [x.name, sizes])], perm=[*range(rank - 1), rank, rank - 1])
    return Value(d.node("Reshape", [y, shape]), x.shape)


def counted(d: Draft, x: Value) -> Value:
    """The last axis turned around, or multiplied, by its numbers from 0 on."""
    if d.opset < 11:
        return there_and_back(d, x)
    shape, last = d.node("Shape", [x.name]), x.rank - 1
    size = d.node("Gather", [shape, d.constant(np.int64(last))], axis=0)
    places = d.node("Range", [d.constant(np.int64(0)), size, d.constant(np.int64(1))])
    if d.chance(0.5):
        turned = d.node("Sub", [d.node("Sub", [size, d.constant(np.int64(1))]), places])
        return Value(d.node("Gather", [x.name, turned], axis=_signed(d, last, x.rank)), x.shape)
    steps = d.node("Cast", [places], to=TensorProto.FLOAT)
    return d.add("Mul", x, d.node("Mul", [steps, d.constant(np.float32(0.3))]))


def of_computed_size(d: Draft, x: Value) -> Value:
    """Weights that are expanded, zeros that are joined, a cut in the middle, copies: by sizes from the shape."""
    shape, rank = d.node("Shape", [x.name]), x.rank
    kind, axis = d.pick("expand", "zeros", "cut", "tile"), int(d.rng.integers(1, rank))
    if kind == "expand":
        row = d.constant(d.normal(*[1] * (rank - 1), x.shape[-1]))
        return d.add(d.pick("Mul", "Add"), x, d.node("Expand", [row, shape]))
    if kind == "zeros":
        sizes = [d.constant([2], np.int64) if k == axis else _part(d, shape, k, k + 1) for k in range(rank)]
        filled = d.node("ConstantOfShape", [d.node("Concat", sizes, axis=0)])
        given = _signed(d, axis, rank) if d.opset >= 11 else axis
        return d.add("Concat", x, filled, axis=given, shape=keep(x.shape, axis, x.shape[axis] + 2))
    if kind == "cut" and d.opset >= 10:
        longer = d.node("Add", [_part(d, shape, axis, axis + 1), d.constant([1], np.int64)])
        stop = d.node("Div", [longer, d.constant([2], np.int64)])
        ends = [d.constant([0], np.int64), stop, d.constant([axis], np.int64)]
        return d.add("Slice", x, *ends, shape=keep(x.shape, axis, (x.shape[axis] + 1) // 2))
    times = d.node("Concat", [d.constant([1] * (rank - 1), np.int64), d.constant([2], np.int64)], axis=0)
    return d.add("Tile", x, times, shape=keep(x.shape, rank - 1, 2 * x.shape[-1]))


_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "Prod", "SumSquare", "LogSum")


def reduced(d: Draft, x: Value) -> Value:
    """A reduction over several axes, kept or not, and what it is compared or divided by."""
    op = "Reduce" + d.pick(*_REDUCTIONS)
    y = d.add("Add", d.add("Softplus", x), d.constant(np.float32(0.1))) if op == "ReduceLogSum" else x
    count = int(d.rng.integers(1, x.rank))
    axes = sorted(int(a) for a in d.rng.choice(np.arange(1, x.rank), count, replace=False))
    given = [_signed(d, a, x.rank) if d.opset >= 11 else a for a in d.rng.permutation(axes).tolist()]
    since, kept = 13 if op == "ReduceSum" else 18, tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    small = d.with_axes(op, y, given, kept, since, keepdims=1)
    if x.rank - count >= 2 and d.chance(0.5):
        shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
        return d.with_axes(op, y, given, shape, since, keepdims=0)
    if d.chance(0.5):
        return Value(d.node(d.pick("Sub", "Mul", "Max"), [x.name, small.name]), x.shape)
    low = d.add("Add", d.add("Abs", small), d.constant(np.float32(0.5)))
    return Value(d.node("Div", [x.name, low.name]), x.shape)


def resized(d: Draft, x: Value) -> Value:
    """Resize in all its modes, by scales or sizes, of all axes or of some."""
    if x.rank not in (3, 4) or d.opset < 11:
        return reduced(d, x)
    mode = d.pick("nearest", "linear", "cubic") if x.rank == 4 else d.pick("nearest", "linear")
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    modes += ["half_pixel_symmetric"] if d.opset >= 19 else []
    more: dict[str, object] = {"coordinate_transformation_mode": d.pick(*modes)}
    if mode == "nearest":
        more["nearest_mode"] = d.pick("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    if mode == "cubic":
        more |= {"cubic_coeff_a": d.pick(-0.5, -0.75), "exclude_outside": d.pick(0, 1)}
    if d.opset >= 18 and mode != "nearest" and d.chance(0.3):
        more["antialias"] = 1
    sizes = [d.pick(n, n + 1, 2 * n, max(1, n - 1)) for n in x.shape[2:]]
    shape, roi = (*x.shape[:2], *sizes), "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    none = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    if d.opset >= 18 and d.chance(0.5):
        more["axes"] = [_signed(d, a, x.rank) for a in range(2, x.rank)]
        return d.add("Resize", x, roi, none, d.constant(sizes, np.int64), shape=shape, mode=mode, **more)
    first = d.node("Gather", [d.node("Shape", [x.name]), d.constant([0, 1], np.int64)], axis=0)
    whole = d.node("Concat", [first, d.constant(sizes, np.int64)], axis=0)
    return d.add("Resize", x, roi, none, whole, shape=shape, mode=mode, **more)
