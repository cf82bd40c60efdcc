"""Sizes, reshapes, broadcasts and casts as methods of the builder, which fold where the shapes are known."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.operators import Operand, Operators
from onnxattr.graph.sizes import contents
from onnxattr.graph.values import dims_of, same_dims

#: In the ``meta`` of a size: the vector of one element that it was taken from.
_VECTOR = "vector"
#: In the ``meta`` of values that a definition beside a node is written with.
_WRITTEN = "written"


class Shaping(Operators):
    """What the builder says about shapes, in operators."""

    #: By the name of a size, the vector of one element that holds it, while a definition is written.
    _holders: dict[str, ir.Value]

    @abstractmethod
    def constant(self, array: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """The initializer that holds an array."""

    def shape(self, value: ir.Value, start: int = 0, end: int | None = None) -> ir.Value:
        """The dimensions ``start:end`` of a value as an int64 vector."""
        dims = dims_of(value)
        if dims is not None and all(isinstance(dim, int) for dim in dims[start:end]):
            return self.constant(np.array(dims[start:end], np.int64))
        if dims is not None and value.meta.get(_WRITTEN, False):
            sizes = [
                [dim] if isinstance(dim, int) else self._holders.get(str(dim)) for dim in dims[start:end]
            ]
            if sizes and None not in sizes:
                return self.Concat(*sizes, axis=0) if len(sizes) > 1 else sizes[0]  # type: ignore[return-value]
        return self.Shape(value, start=start or None, end=end)

    def size(self, value: ir.Value, axis: int) -> ir.Value:
        """The size of one axis of a value, an int64 scalar."""
        vector = self.shape(value, axis, axis + 1 or None)
        result = self.Squeeze(vector, [0])
        if result.producer() is not None:
            result.meta[_VECTOR] = vector
        return result

    def elements(
        self, value: ir.Value, start: int = 0, end: int | None = None, axes: Sequence[int] | None = None
    ) -> ir.Value:
        """The product of the dimensions ``start:end`` of a value, or of some axes, an int64 vector of one element.

        ReduceProd, of which CUDA has none for int64, multiplies known sizes only, and those of unknown rank in float64.
        """
        dims = dims_of(value)
        if dims is None:
            sizes = self.Cast(self.shape(value, start, end), to=ir.DataType.DOUBLE.value)
            return self.Cast(self.ReduceProd(sizes, keepdims=1), to=ir.DataType.INT64.value)
        chosen = range(len(dims))[start:end] if axes is None else [axis % len(dims) for axis in axes]
        known = math.prod(dim for axis in chosen if isinstance(dim := dims[axis], int))
        parts = [self.shape(value, axis, axis + 1) for axis in chosen if not isinstance(dims[axis], int)]
        result = parts[0] if parts else self.constant([known], ir.DataType.INT64)
        for part in parts[1:]:
            result = self.Mul(result, part)
        return self.Mul(result, known) if parts and known != 1 else result

    def sizes(self, dims: Sequence[int | ir.Value]) -> ir.Value:
        """An int64 vector of sizes: ints, scalars, and vectors of several sizes, one after another."""
        parts: list[ir.Value | list[int]] = []
        for dim in dims:
            if isinstance(dim, ir.Value):
                parts.append(self._as_vector(dim))
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(int(dim))
            else:
                parts.append([int(dim)])
        values = [
            self.constant(part, ir.DataType.INT64) if isinstance(part, list) else part for part in parts
        ]
        if len(values) < 2:
            return values[0] if values else self.constant([], ir.DataType.INT64)
        return self.Concat(*values, axis=0)

    def _as_vector(self, size: ir.Value) -> ir.Value:
        """A scalar as a vector of one element; vectors as they are."""
        vector = size.meta.get(_VECTOR)
        if isinstance(vector, ir.Value):
            return vector
        return self.Unsqueeze(size, [0]) if dims_of(size) == [] else size

    def reshape(self, value: ir.Value, dims: Sequence[int | ir.Value]) -> ir.Value:
        """Reshapes a value; see ``sizes`` for what ``dims`` may hold. -1 is inferred, 0 keeps the size of its axis."""
        return self.Reshape(value, self.sizes(dims))

    def expand(self, value: Operand, dims: Sequence[int | ir.Value]) -> ir.Value:
        """Broadcasts a value to a shape; see ``sizes`` for what ``dims`` may hold."""
        return self.Expand(value, self.sizes(dims))

    def reshape_rows(self, value: ir.Value, sizes: ir.Value, like: ir.Value) -> ir.Value:
        """A value in other axes, where one of ``like`` behind the first may turn out to have no elements.

        There a 0 is a size, and does not stand for that of the value before.
        """
        open_sizes = any(not isinstance(dim, int) or dim == 0 for dim in (dims_of(like) or [None, None])[1:])
        return self.Reshape(value, sizes, allowzero=1 if open_sizes else None)

    def reshape_like(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """Reshapes a value to the shape of another."""
        dims = dims_of(like)
        if dims is not None and sum(not isinstance(dim, int) for dim in dims) == 1 and 0 not in dims:
            target = self.constant(np.array([dim if isinstance(dim, int) else -1 for dim in dims], np.int64))
        else:
            target = self.shape(like)
        result = self.Reshape(value, target, allowzero=1 if dims is not None and 0 in dims else None)
        result.shape = like.shape
        return result

    def expand_like(self, value: Operand, like: ir.Value) -> ir.Value:
        """Broadcasts a value or a literal (in the dtype of ``like``) to the shape of another."""
        operand = value if isinstance(value, ir.Value) else self.constant(value, like.dtype)
        if same_dims(operand, like):
            return operand
        result = self.Expand(operand, self.shape(like))
        result.shape = like.shape
        return result

    def cast(self, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        """A value in another dtype; as it is where it has that dtype already, or where ``dtype`` is unknown."""
        return value if dtype is None or value.dtype == dtype else self.Cast(value, to=dtype.value)

    def cast_like(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """A value in the dtype of another."""
        return self.cast(value, like.dtype)

    def zeros_like(self, like: ir.Value) -> ir.Value:
        """Zeros in the shape and dtype of a value; not a product with 0, which would be NaN at infinities."""
        return self.expand_like(0, like)

    def sum_to(self, ct: ir.Value, primal: ir.Value) -> ir.Value:
        """Undoes broadcasting: sums a cotangent over the axes along which ``primal`` was expanded.

        xbar = sum of ybar over broadcast axes. The axes are decided here where the shapes are known, else in the graph.
        """
        if same_dims(ct, primal):
            return ct
        have, want = dims_of(ct), dims_of(primal)
        if have is not None and want is not None:
            padded = [1] * (len(have) - len(want)) + want
            pairs = list(zip(have, padded, strict=True))
            if all(isinstance(p, int) or (h == p and h is not None) for h, p in pairs):
                axes = [axis for axis, (h, p) in enumerate(pairs) if p == 1 and h != 1]
                summed = self.ReduceSum(ct, axes, keepdims=1) if axes else ct
                return summed if len(have) == len(want) else self.reshape_like(summed, primal)
        return self._sum_to_dynamic(ct, primal)

    def _sum_to_dynamic(self, ct: ir.Value, primal: ir.Value) -> ir.Value:
        """Sums over the axes that a run finds expanded."""
        have, want = dims_of(ct), dims_of(primal)
        if have is not None and want is not None:
            return self._sum_over_shares(ct, primal, have, want)
        sizes, wanted = self.Shape(ct), self.shape(primal)
        missing = self.Sub(self.Shape(sizes), self.Shape(wanted))
        ones = self.Expand([1], missing)
        padded = self.Concat(ones, wanted, axis=0)
        expanded = self.And(self.Equal(padded, 1), self.Not(self.Equal(sizes, 1)))
        axes = self.Reshape(self.NonZero(expanded), [-1])
        return self.reshape_like(self.ReduceSum(ct, axes, keepdims=1, noop_with_empty_axes=1), primal)

    def _sum_over_shares(
        self, ct: ir.Value, primal: ir.Value, have: list[int | str | None], want: list[int | str | None]
    ) -> ir.Value:
        """Each axis of h elements as (h / p, p), where the primal has p, 1 or h; summed over the first of the two.

        So the axes of the sum are known, which some runtimes ask for, and no GPU waits for them.
        """
        new = len(have) - len(want)
        sizes: list[int | ir.Value] = []
        axes = [*range(new)]
        for axis, h in enumerate(have):
            size = h if isinstance(h, int) else self.shape(ct, axis, axis + 1)
            p = want[axis - new] if axis >= new else h
            if axis < new or (p == h and h is not None) or (isinstance(p, int) and p != 1):
                sizes.append(size)
                continue
            own = self.shape(primal, axis - new, axis - new + 1)
            axes.append(len(sizes))
            sizes += [size, 1] if p == 1 else [self.Div(self.sizes([size]), self.Max(own, 1)), own]
        # An axis of no elements is none to copy from ``ct``.
        shares = self.Reshape(ct, self.sizes(sizes), allowzero=1)
        summed = self.ReduceSum(shares, axes, keepdims=0)
        return self.reshape_like(summed, primal)

    def _note_written(self, node: ir.Node) -> None:
        """Notes of a definition's nodes what sizes they hold: nothing but the gradient itself shall need the others."""
        for value in node.outputs:
            value.meta[_WRITTEN] = True
        if dims_of(node.outputs[0]) == [1] and isinstance(
            size := (contents(node.outputs[0]) or [None])[0], str
        ):
            self._holders.setdefault(size, node.outputs[0])
