"""The loop rendering: the step as the body of an ONNX Loop over chunks of rows; one run, bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.attributions.baseline_kinds import Fixed
from onnxattr.builder import OpBuilder
from onnxattr.renderings.driven import (
    ALPHA,
    DRAW,
    ENDS,
    IMAGE,
    PLACES,
    ROW,
    WEIGHTS,
    pilot_names,
    step_rewrite,
)
from onnxattr.renderings.rewrite import INT64, Request, Rewrite, has_rows, own_name
from onnxattr.subgraphs import subgraphs_of
from onnxattr.values import dims_of, values_of


def loop_graph(request: Request, labels: bool, rows: int) -> onnx.ModelProto:
    """Prediction and attribution from one run that takes ``rows`` (image, point) pairs at a time.

    Inputs and outputs are those of the batch rendering. The prediction, and with a pilot its gradient, are one run of
    all images.
    """
    main = Rewrite(request)
    op, definition = main.op, main.definition
    dim = (dims_of(main.with_rows) or [None])[0]
    prediction = main.add_prediction(main.score, dim)
    images = op.Shape(main.with_rows, start=0, end=1)
    target = main.add_target(prediction, labels, dim)
    per_image = {own_name(request.prepared, "target"): target}
    if definition.pilot:
        per_image |= dict(zip(pilot_names(request), main.gradients(main.wrt, target), strict=True))
    shared = {}
    if definition.seeded:
        shared[own_name(request.prepared, "seed")] = main.seed()
    for value in main.graph.inputs[: len(request.prepared.inputs)]:
        (per_image if has_rows(value) else shared)[str(value.name)] = value
    for position, kind in enumerate(definition.baseline or ()):
        if not isinstance(kind, Fixed):
            name, x = own_name(request.prepared, "baseline", position), main.wrt[position]
            per_image[name] = op.expand_like(main.baseline(position, x), x)
    totals = _Loop(main, images, rows, per_image, shared).totals()
    powers = len(definition.powers)
    moments = [totals[i * powers : (i + 1) * powers] for i in range(len(main.wrt))]
    main.attributions(main.wrt, moments, totals[-1] if definition.ends is not None else None)
    return main.finished()


@dataclass
class _Loop:
    """Row r of all chunks holds point r % points of image r // points, as in the driven rendering.

    Attributes:
        main: The graph around the loop.
        images: The number of images, (1,).
        rows: Most rows of a chunk.
        per_image: Values with a row for each image, by the name of the step's input that takes a chunk's part.
        shared: Values that every chunk takes as they are, likewise.
    """

    main: Rewrite
    images: ir.Value
    rows: int
    per_image: Mapping[str, ir.Value]
    shared: Mapping[str, ir.Value]

    def totals(self) -> list[ir.Value]:
        """Appends the Loop; returns the outputs of the step, summed over all chunks."""
        op, points = self.main.op, self.main.definition.points
        body = op.body("chunk")
        number = body.input("number", INT64, [])
        body.input("go_on", ir.DataType.BOOL, [])
        count = op.Squeeze(op.Mul(self.images, points), [0])
        start = body.Mul(number, self.rows)
        row = body.Range(start, body.Min(body.Add(start, self.rows), count), 1)
        image, point = body.Div(row, points), body.Mod(row, points)
        first, end = body.Gather(image, [0]), body.Add(body.Gather(image, [-1]), 1)
        chunk = body.Range(body.Squeeze(first, [0]), body.Squeeze(end, [0]), 1)
        # Gather, as the shape behind a Slice with computed ends is unknown to a runtime, and unknown shapes are slow.
        feeds = {name: body.Gather(value, chunk, axis=0) for name, value in self.per_image.items()}
        feeds |= self._row_feeds(body, image, point, chunk, start) | dict(self.shared)
        masked = len(self.main.definition.counting) < points
        parts = inline(step_rewrite(self.main.request, masked).finished_model(), body, self.main, feeds)
        initial, sums = self._zeros(), []
        for part, zeros in zip(parts, initial, strict=True):
            total = body.input("total", zeros.dtype, [None, *(dims_of(part) or [])[1:]])
            there = body.Add(body.Slice(total, first, end, [0]), part)
            before, after = body.Slice(total, [0], first, [0]), body.Slice(total, end, [2**62], [0])
            sums.append(body.Concat(before, there, after, axis=0))
        body.graph.outputs.extend([body.Identity(body.graph.inputs[1]), *sums])
        trips = op.Div(op.Add(count, self.rows - 1), self.rows)
        found = op.node("Loop", [trips, np.array(True), *initial], {"body": body.graph}, len(sums))
        found = list(found) if isinstance(found, tuple) else [found]
        for value, zeros in zip(found, initial, strict=True):
            value.dtype, value.shape = zeros.dtype, zeros.shape
        return found

    def _row_feeds(
        self, body: OpBuilder, image: ir.Value, point: ir.Value, chunk: ir.Value, start: ir.Value
    ) -> dict[str, ir.Value]:
        """What the step needs to know of the rows of a chunk of images; see ``step_rewrite``."""
        definition, main = self.main.definition, self.main
        points = definition.points
        row = body.Sub(image, body.Gather(chunk, [0]))
        # Positions among the rows of all chunks: an image's rows here are those from ``first`` up to ``end``.
        ends_at = body.Add(start, body.Shape(image, start=0, end=1))
        first = body.Unsqueeze(body.Max(body.Mul(chunk, points), start), [1])
        end = body.Unsqueeze(body.Min(body.Mul(body.Add(chunk, 1), points), ends_at), [1])
        wanted = body.Add(first, np.arange(min(points, self.rows))[None])
        within, taken = body.Less(wanted, end), body.Min(wanted, body.Sub(end, 1))

        def per_point(table: np.ndarray, dtype: ir.DataType | None, which: ir.Value) -> ir.Value:
            return body.Gather(body.constant(table, dtype), which)

        def of_images(table: np.ndarray, dtype: ir.DataType | None) -> ir.Value:
            return body.Where(within, per_point(table, dtype, body.Mod(taken, points)), 0)

        feeds = {ROW: row, PLACES: body.Sub(taken, start), IMAGE: image, DRAW: point}
        feeds[WEIGHTS] = of_images(definition.weights, main.wrt[0].dtype)
        if definition.alphas is not None and definition.ends is not None:
            feeds[ALPHA] = per_point(definition.alphas, ir.DataType.FLOAT, point)
            feeds[ENDS] = of_images(definition.ends, main.score.dtype)
        return feeds

    def _zeros(self) -> list[ir.Value]:
        """The sums before the first chunk, in the order of the step's outputs."""
        op, found = self.main.op, []
        for x in self.main.wrt:
            zeros = op.zeros_like(x)
            zeros.shape = x.shape
            found += [zeros] * len(self.main.definition.powers)
        if self.main.definition.ends is not None:
            zeros = op.Expand(op.constant(0, self.main.score.dtype), op.Concat(self.images, [1], axis=0))
            zeros.shape = ir.Shape([(dims_of(self.main.score) or [None])[0], 1])
            found.append(zeros)
        return found


def inline(step: ir.Model, body: OpBuilder, main: Rewrite, feeds: Mapping[str, ir.Value]) -> list[ir.Value]:
    """Moves the nodes of a step into the body of a loop; returns the step's outputs there.

    The model's weights are those of the graph around it, stored once. What is computed from them alone stays in the
    body: a runtime folds it when it loads the file, and picks fast kernels for folded weights of the same graph only.
    """
    graph = step.graph
    weights = main.request.prepared.model.graph.initializers
    for value in values_of(graph):
        # A chunk has another number of rows than the graph around it: the symbols must differ.
        dims = dims_of(value)
        if dims is not None:
            value.shape = ir.Shape([f"{dim}_of_chunk" if isinstance(dim, str) else dim for dim in dims])
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        outer = (
            main.graph.initializers[name]
            if name in weights or tensor is None
            else main.op.constant(tensor.numpy())
        )
        ir.convenience.replace_all_uses_with(value, outer)
    for value in list(graph.inputs):
        ir.convenience.replace_all_uses_with(value, feeds[str(value.name)])
    outputs = list(graph.outputs)
    graph.outputs.clear()
    for node in list(graph):
        graph.remove(node)
        _rename(node, body)
        body.graph.append(node)
    return outputs


def _rename(node: ir.Node, body: OpBuilder) -> None:
    """Gives a node and its values names that the graphs around it do not have."""
    node.name = body.unique_name(str(node.name))
    inner = [value for graph in subgraphs_of(node) for value in values_of(graph)]
    for value in [*node.outputs, *inner]:
        if value.name:
            value.name = body.unique_name(value.name)
