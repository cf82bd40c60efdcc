"""Baselines that depend on the sample, as graphs: its blurred copy, its mean, uniform noise in its range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.compile.baseline_kinds import Computed
from onnxattr.compile.noise import uniform_like
from onnxattr.errors import ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.halves import in_float
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import channel_axis_of_layer
from onnxattr.loading.missing import may_be_missing
from onnxattr.loading.prepared import Prepared

NAMES = ("blur", "mean", "uniform")
#: The kernel of a blur ends at this many standard deviations, as SciPy's does.
_TRUNCATE = 4.0


def computed(kind: str, prepared: Prepared, name: str, channel_axis: int | None, sigma: float) -> Computed:
    """The baseline of a name for an explained value.

    Args:
        kind: One of ``NAMES``.
        prepared: The model, with an axis of samples.
        name: The explained value.
        channel_axis: Its channel axis; None for what is no image.
        sigma: Standard deviation of a blur, in elements.

    Raises:
        ParameterError: If the value has no axes that neighbours lie along.
    """
    value = prepared.value(name)
    what = f"baseline_value={kind!r}"
    axes = space_of(prepared, name, channel_axis, what) if kind != "uniform" else ()
    missing = value.producer() is None and may_be_missing([value], prepared.value(prepared.output))[0]

    def build(
        op: OpBuilder, x: ir.Value, seed: ir.Value | None, sample: ir.Value | None, position: int
    ) -> ir.Value:
        wide = in_float(op, x)
        if kind == "uniform":
            assert seed is not None
            assert sample is not None
            found = _uniform(op, wide, seed, sample, position, missing)
        elif kind == "mean":
            found = _mean(op, wide, axes, missing)
        else:
            present = op.Where(op.IsNaN(wide), _mean(op, wide, axes, True), wide) if missing else wide
            found = blurred(op, present, axes, sigma)
        return op.cast_like(found, x)

    named = f"{kind} {sigma}" if kind == "blur" else kind
    return Computed(named, build, seeded=kind == "uniform")


def space_of(prepared: Prepared, name: str, channel_axis: int | None, what: str) -> tuple[int, ...]:
    """The axes of an image or a series that neighbours lie along: all but samples and channels.

    Raises:
        ParameterError: If there are none: ``what`` is what was asked for.
    """
    dims = dims_of(prepared.value(name))
    table = name in prepared.features
    if dims is None or len(dims) < 2 or table:
        is_ = "a table, whose columns are no neighbours" if table else f"of shape {shape_text(dims)}"
        raise ParameterError(
            f"{what} is for images and series, and {name!r} is {is_}: start at numbers, such as the mean of each "
            "column over the training data, or at rows of the training data, with background=."
        )
    if len(dims) == 2:
        return (1,)
    channels = channel_axis_of_layer(prepared.value(name)) if channel_axis is None else channel_axis
    return tuple(axis for axis in range(1, len(dims)) if axis != channels)


def _mean(op: OpBuilder, x: ir.Value, axes: Sequence[int], missing: bool) -> ir.Value:
    """b = mean of x along axes, of what is present."""
    if not missing:
        return op.ReduceMean(x, list(axes), keepdims=1)
    there = op.cast_like(op.Not(op.IsNaN(x)), x)
    total = op.ReduceSum(op.Where(op.IsNaN(x), 0.0, x), list(axes), keepdims=1)
    return op.Div(total, op.Max(op.ReduceSum(there, list(axes), keepdims=1), 1.0))


def _uniform(
    op: OpBuilder, x: ir.Value, seed: ir.Value, sample: ir.Value, position: int, missing: bool
) -> ir.Value:
    """b = min x + u (max x - min x) with u uniform between 0 and 1, the range that of the sample."""
    axes = list(range(1, len(dims_of(x) or [None])))
    low, high = x, x
    if missing:
        low, high = op.Where(op.IsNaN(x), np.inf, x), op.Where(op.IsNaN(x), -np.inf, x)
    low, high = op.ReduceMin(low, axes, keepdims=1), op.ReduceMax(high, axes, keepdims=1)
    if missing:
        none = op.Greater(low, high)
        low, high = op.Where(none, 0.0, low), op.Where(none, 0.0, high)
    noise = op.cast_like(uniform_like(op, x, seed, sample, op.Mul(sample, 0), position), x)
    return op.Add(low, op.Mul(noise, op.Sub(high, low)))


def blurred(op: OpBuilder, x: ir.Value, axes: Sequence[int], sigma: float) -> ir.Value:
    """A Gaussian blur along axes, mirrored at the edges: SciPy's ``gaussian_filter`` with its defaults."""
    rank = len(dims_of(x) or [])
    for axis in axes:
        matrix = _blur_matrix(op, op.Squeeze(op.shape(x, axis, axis + 1), [0]), sigma, x.dtype)
        shape = op.shape(x)
        if axis == rank - 1:
            flat = op.Reshape(x, op.Concat([-1], op.shape(x, axis, axis + 1), axis=0))
            flat = op.MatMul(flat, op.Transpose(matrix, perm=[1, 0]))
        else:
            before = op.elements(x, 0, axis)
            size = op.shape(x, axis, axis + 1)
            flat = op.MatMul(matrix, op.Reshape(x, op.Concat(before, size, [-1], axis=0)))
        dims = x.shape
        x = op.Reshape(flat, shape)
        x.shape = dims
    return x


def _blur_matrix(op: OpBuilder, size: ir.Value, sigma: float, dtype: ir.DataType | None) -> ir.Value:
    """The matrix (n, n) of a blur of n elements.

    With the edges mirrored (b a | a b c | c b), element i takes of element j the kernel's weight at i - j and at
    i + j + 1, each with period 2 n.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    period = op.Mul(size, 2)
    place = op.Unsqueeze(op.Mod(op.constant(offsets.astype(np.int64)), period), [1])
    hits = op.Equal(place, op.Unsqueeze(op.Range(0, period, 1), [0]))
    weights = op.constant(kernel[None] / kernel.sum(), dtype)
    table = op.Squeeze(op.MatMul(weights, op.cast_like(hits, weights)), [0])
    i = op.Unsqueeze(op.Range(0, size, 1), [1])
    j = op.Unsqueeze(op.Range(0, size, 1), [0])
    straight = op.Gather(table, op.Mod(op.Sub(i, j), period))
    mirrored = op.Gather(table, op.Mod(op.Add(op.Add(i, j), 1), period))
    return op.Add(straight, mirrored)
