"""Writes a method into a model: as one graph (batch rendering), or as step and finish (driven rendering)."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.builder import OpBuilder, dims_of
from onnxattr.errors import ModelError
from onnxattr.gradient import named_copy
from onnxattr.noise import normal_like
from onnxattr.rewrite import (
    ALPHA,
    DRAW,
    IMAGE,
    INT64,
    MOMENT,
    PILOT,
    ROW,
    WEIGHTS,
    Request,
    Rewrite,
    has_rows,
    own_name,
)


def step_graph(request: Request) -> onnx.ModelProto:
    """The driven rendering's step: moments of the gradients at R rows, summed into the B images they belong to.

    Inputs: the model's (B images), ``row`` (R,) int64 image of each row, ``weights`` (B, R) weight of each row in its
    image, ``target`` (B, ...) weights on the model's output; with a path ``alpha`` (R,); with noise ``seed`` (),
    ``image`` (R,) and ``draw`` (R,) int64; with a pilot ``pilot_<i>`` like each explained value.
    Outputs: for each explained value and each power one moment, shaped like the value.
    """
    rewrite = Rewrite(request)
    op, definition = rewrite.op, rewrite.definition
    row = op.input(ROW, INT64, ["rows"])
    rewrite.gather_inputs(lambda value: op.Gather(value, row, axis=0))
    alpha = op.input(ALPHA, ir.DataType.FLOAT, ["rows"]) if definition.alphas is not None else None
    counters: tuple[ir.Value, ir.Value, ir.Value] | None = None
    if definition.noise:
        seed = op.input(own_name(request.prepared, "seed"), INT64, [])
        counters = (seed, op.input(IMAGE, INT64, ["rows"]), op.input(DRAW, INT64, ["rows"]))

    def points(x: ir.Value, position: int) -> ir.Value:
        z = rewrite.on_path(x, alpha) if alpha is not None else x
        if counters:
            noise = normal_like(op, x, *counters, position)
            z = op.Add(z, op.Mul(noise, definition.noise))
        return z

    placed = rewrite.place_points(points)
    score_dims = (dims_of(rewrite.score) or [None])[1:]
    target = op.input(own_name(request.prepared, "target"), rewrite.score.dtype, ["images", *score_dims])
    gradients = rewrite.gradients(placed, op.Gather(target, row, axis=0))
    for index, (x, gradient) in enumerate(zip(rewrite.wrt, gradients, strict=True)):
        shape = ["images", *(dims_of(x) or [None])[1:]]
        if definition.pilot:
            gradient = op.Sub(gradient, op.Gather(op.input(f"{PILOT}_{index}", x.dtype, shape), row, axis=0))
        for power in definition.powers:
            moment = _sum_rows(rewrite, _power(op, gradient, power))
            moment.name = op.unique_name(f"{MOMENT}_{power}_{index}", exact=True)
            moment.shape = ir.Shape(shape)
            rewrite.graph.outputs.append(moment)
    return rewrite.finished()


def _power(op: OpBuilder, value: ir.Value, power: int) -> ir.Value:
    return value if power == 1 else op.Mul(value, value)


def _sum_rows(rewrite: Rewrite, value: ir.Value) -> ir.Value:
    """Sums R rows into B images with the matrix ``weights``."""
    op = rewrite.op
    existing = [v for v in rewrite.graph.inputs if v.name == WEIGHTS]
    weights = existing[0] if existing else op.input(WEIGHTS, value.dtype, ["images", "rows"])
    total = op.MatMul(
        op.cast_like(weights, value), op.Reshape(value, op.Concat(op.shape(value, 0, 1), [-1], axis=0))
    )
    return op.Reshape(total, op.Concat(op.Shape(weights, start=0, end=1), op.shape(value, 1), axis=0))


def finish_graph(request: Request) -> onnx.ModelProto:
    """The driven rendering's finish: attributions from the model's inputs and the moments."""
    rewrite = Rewrite(request)
    op = rewrite.op
    for index, x in enumerate(rewrite.wrt):
        moments = [
            op.input(f"{MOMENT}_{p}_{index}", x.dtype, dims_of(x) or []) for p in rewrite.definition.powers
        ]
        rewrite.attribution(x, moments, index)
    return rewrite.finished()


def batch_graph(request: Request, labels: bool) -> onnx.ModelProto:
    """The batch rendering: prediction and attribution from one run, all points as rows.

    Inputs: the model's; ``target``, with ``labels`` (N,) int64, -1 for the predicted class, else weights on the
    model's output; with noise ``seed`` () int64. Outputs: ``prediction``, then the attributions.

    Raises:
        ModelError: If the method has several points and the model's batch is fixed.
    """
    rewrite = Rewrite(request)
    op, definition = rewrite.op, rewrite.definition
    # With noise, x itself is one more row, of weight 0: it gives the prediction and the pilot.
    extra = int(bool(definition.noise))
    count = definition.points + extra
    at_x = 0 if extra else count - 1
    if count > 1:
        _check_dynamic(rewrite)
    seed = op.input(own_name(request.prepared, "seed"), INT64, []) if definition.noise else None
    images = _Images(op, count)
    if count > 1:
        rewrite.gather_inputs(images.repeat)

    def points(x: ir.Value, position: int) -> ir.Value:
        if definition.alphas is not None:
            return rewrite.on_path(x, images.tile(definition.alphas.astype(np.float32)))
        if seed is None:
            return x
        draw = images.tile(np.arange(-1, definition.points))
        noise = normal_like(op, x, seed, images.numbers(), draw, position)
        scale = images.tile(np.array([0.0] + [definition.noise] * definition.points, np.float32))
        return op.Add(x, op.Mul(noise, rewrite.column(scale, x)))

    placed = rewrite.place_points(points)
    prediction = images.pick(rewrite.score, at_x)
    named = named_copy(op, prediction, own_name(request.prepared, "prediction"), prediction)
    named.shape = ir.Shape([_rows_dim(rewrite, count), *(dims_of(rewrite.score) or [None])[1:]])
    rewrite.graph.outputs.append(named)
    target = _target(rewrite, prediction, labels, _rows_dim(rewrite, count))
    gradients = rewrite.gradients(placed, images.repeat(target) if count > 1 else target)
    weights = np.concatenate([np.zeros(extra), definition.weights])
    for index, (x, gradient) in enumerate(zip(rewrite.wrt, gradients, strict=True)):
        at_point = gradient
        if definition.pilot:
            at_point = op.Sub(gradient, images.repeat(images.pick(gradient, at_x)))
        moments = [images.total(_power(op, at_point, power), weights) for power in definition.powers]
        own = images.pick(x, at_x)
        own.shape = (
            ir.Shape([_rows_dim(rewrite, count), *(dims_of(x) or [None])[1:]]) if count > 1 else x.shape
        )
        rewrite.attribution(own, moments, index)
    return rewrite.finished()


def _rows_dim(rewrite: Rewrite, count: int) -> int | str | None:
    return "images" if count > 1 else (dims_of(rewrite.score) or [None])[0]


def _check_dynamic(rewrite: Rewrite) -> None:
    for value in rewrite.graph.inputs:
        dims = dims_of(value)
        if dims and isinstance(dims[0], int):
            raise ModelError(
                f"Input {value.name!r} has a fixed batch of {dims[0]}: its points cannot be rows of one run. "
                "Export the model with a dynamic first axis, or use explain(), which runs row by row."
            )


def _target(rewrite: Rewrite, prediction: ir.Value, labels: bool, rows: int | str | None) -> ir.Value:
    """The cotangent of the prediction: the target's weights, or one-hot rows of its labels."""
    op, name = rewrite.op, own_name(rewrite.request.prepared, "target")
    dims = dims_of(rewrite.score) or []
    if not labels:
        return op.input(name, rewrite.score.dtype, [rows, *dims[1:]])
    if len(dims) != 2:
        raise ModelError(
            f"Labels need a model output of shape (N, classes); {rewrite.score.name!r} has shape {dims}."
        )
    target = op.input(name, INT64, [rows])
    chosen = op.Where(op.Less(target, 0), op.ArgMax(prediction, axis=1, keepdims=0), target)
    # In float32 first: the runtime has no OneHot of float64.
    values = op.constant([0, 1], ir.DataType.FLOAT)
    one_hot = op.cast_like(op.OneHot(chosen, op.shape(rewrite.score, 1, 2), values, axis=-1), rewrite.score)
    one_hot.shape = ir.Shape([rows, dims[1]])
    return one_hot


class _Images:
    """Index arithmetic of the batch rendering, where row r holds point r % count of image r // count."""

    def __init__(self, op: OpBuilder, count: int):
        self.op, self.count = op, count

    def images(self) -> ir.Value:
        """The number of images, as an int64 vector of one element."""
        with_rows = next(value for value in self.op.graph.inputs if has_rows(value))
        return self.op.Shape(with_rows, start=0, end=1)

    def numbers(self) -> ir.Value:
        """The image of each row: 0, 0, ..., 1, 1, ..."""
        op = self.op
        total = op.Mul(self.images(), self.count)
        return op.Div(op.Range(0, op.Squeeze(total, [0]), 1), self.count)

    def repeat(self, value: ir.Value) -> ir.Value:
        """Each image ``count`` times in a row."""
        return self.op.Gather(value, self.numbers(), axis=0)

    def tile(self, per_point: np.ndarray) -> ir.Value:
        """A value per point, for each row."""
        return self.op.Tile(self.op.constant(per_point), self.images())

    def grouped(self, value: ir.Value) -> ir.Value:
        """Rows as (images, points, elements)."""
        return self.op.Reshape(value, self.op.Concat(self.images(), [self.count, -1], axis=0))

    def pick(self, value: ir.Value, point: int) -> ir.Value:
        """The rows of one point."""
        if self.count == 1:
            return value
        op = self.op
        return self._ungroup(op.Gather(self.grouped(value), [point], axis=1), value)

    def total(self, value: ir.Value, weights: np.ndarray) -> ir.Value:
        """The weighted sum over points."""
        if self.count == 1:
            return value
        row = self.op.constant(weights.reshape(1, 1, -1), value.dtype)
        return self._ungroup(self.op.MatMul(row, self.grouped(value)), value)

    def _ungroup(self, grouped: ir.Value, like: ir.Value) -> ir.Value:
        return self.op.Reshape(grouped, self.op.Concat(self.images(), self.op.shape(like, 1), axis=0))
