"""Inputs that are drawn for a trial run of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in

Feeds = dict[str, np.ndarray]
#: Operators that transform a signal; see ``drawn_inputs``.
TRANSFORMS = ("DFT", "STFT")
FLOATS = tuple(onnx.TensorProto.DataType.Value(name) for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"))
#: Sizes of free dimensions: what only runs on larger ones, images halved five times or windows of sound, has them.
SIZES = (3, 16, 64, 512)
#: Up to this size all free dimensions have the same. Beyond it the first axes have two, and all inputs at most so many
#: numbers, which are counted before they are drawn.
_SAME, _MOST_NUMBERS = 16, 1 << 16


def trials(proto: onnx.ModelProto, sizes: Sequence[int] = SIZES) -> Iterator[Feeds]:
    """Inputs of one size of the free dimensions after the other, for runs until one succeeds; at least one.

    Raises:
        ModelError: As for ``drawn_inputs``.
    """
    for size in sizes:
        if size > _SAME and sum(map(math.prod, _shapes(proto, size).values())) > _MOST_NUMBERS:
            return
        yield drawn_inputs(proto, size)


def drawn_inputs(proto: onnx.ModelProto, size: int) -> Feeds:
    """Normal numbers for floats, zeros and ones for the rest, of the declared shapes.

    Raises:
        ModelError: If an input is not a tensor of numbers, or has no declared shape beside a Fourier transform: one of
            fewer axes than it transforms ends the process of ONNX Runtime.
    """
    rng = np.random.default_rng(0)
    ranked = any(node.op_type in TRANSFORMS for node in nodes_in(proto.graph))
    shapes, feeds = _shapes(proto, size), {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        if value.name not in shapes:
            continue
        if not value.type.HasField("tensor_type") or kind.elem_type == onnx.TensorProto.STRING:
            raise ModelError(f"Input {value.name!r} is no tensor of numbers.")
        if ranked and not kind.HasField("shape"):
            raise ModelError(f"The file declares no shape of the input {value.name!r}.")
        shape = shapes[value.name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        floats = kind.elem_type in FLOATS
        numbers = rng.normal(size=shape) if floats else rng.integers(0, 2, shape)
        feeds[value.name] = numbers.astype(dtype)
    return feeds


def _shapes(proto: onnx.ModelProto, size: int) -> dict[str, list[int]]:
    """The shapes of the inputs that hold no weights, with a size for the free dimensions; files may say -1 of these."""
    held = {tensor.name for tensor in proto.graph.initializer}
    dims = {v.name: v.type.tensor_type.shape.dim for v in proto.graph.input if v.name not in held}
    rows = {dim.dim_param for each in dims.values() for dim in each[:1]} - {""}
    first = size if size <= _SAME else 2
    return {
        name: [
            dim.dim_value if dim.dim_value > 0 else first if axis == 0 or dim.dim_param in rows else size
            for axis, dim in enumerate(each)
        ]
        for name, each in dims.items()
    }


def as_taken(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> Feeds:
    """The feeds in the dtypes of the prepared model, which may be wider."""
    dtypes = {value.name: value.dtype.numpy() for value in model.graph.inputs if value.dtype is not None}
    return {name: array.astype(dtypes.get(name, array.dtype)) for name, array in feeds.items()}
