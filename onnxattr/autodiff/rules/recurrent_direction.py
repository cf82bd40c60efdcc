"""One direction of a recurrent node on its way back in time: what the cells have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.recurrent_cells import Cell
from onnxattr.autodiff.rules.windows import known
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import ANY
from onnxattr.graph.values import dims_of

#: What one direction gives: the cotangents of X, of the initial h and (LSTM) of the initial c, and by input position
#: what builds those of the weights.
Pulled = tuple[ir.Value, ir.Value, ir.Value | None, dict[int, Callable[[], ir.Value]]]
#: Makes one step from the states and the step's slices; gives the next states and what is stacked over time.
Body = Callable[[OpBuilder, Sequence[ir.Value], Mapping[str, ir.Value]], list[ir.Value]]


def total_ct(inner: OpBuilder, carried: ir.Value, step: Mapping[str, ir.Value]) -> ir.Value:
    """The cotangent of a step's h: what later steps carry back to it, and that of Y."""
    return inner.Add(carried, step["ct"]) if "ct" in step else carried


class Direction(ABC):
    """The backward pass of one direction of a recurrent node.

    Attributes:
        op: The builder.
        node: The node.
        cell: Its weights in this direction.
        index: The place of the direction among the node's.
        backward: Whether it runs from the last step to the first.
        states: The node's Y.
        cts: The cotangents of Y, Yh and Yc, None where there is none.
        lengths: The sequences' lengths, None if all have all steps.
    """

    def __init__(
        self,
        op: OpBuilder,
        node: NodeView,
        cell: Cell,
        index: int,
        backward: bool,
        states: ir.Value,
        cts: Sequence[ir.Value | None],
        lengths: ir.Value | None,
    ):
        self.op, self.node, self.cell, self.index = op, node, cell, index
        self.backward, self.states, self.cts, self.lengths = backward, states, cts, lengths
        self.x = node.x
        dims = dims_of(self.x) or [None] * 3
        self.row = [dims[1], cell.hidden]

    @abstractmethod
    def run(self) -> Pulled:
        """Appends the backward pass."""

    def pick(self, value: ir.Value, axis: int) -> ir.Value:
        """This direction's part of a value that has a direction axis."""
        if (dims_of(value) or {axis: None})[axis] != 1:
            value = self.op.Slice(value, [self.index], [self.index + 1], [axis])
        return self.op.Squeeze(value, [axis])

    def initial(self, position: int) -> ir.Value:
        """An initial state, zeros if the node has none."""
        op, given = self.op, self.node.inputs[position]
        if given is not None:
            state = self.pick(given, 0)
        else:
            state = op.expand(op.constant(0, self.x.dtype), [op.shape(self.x, 1, 2), self.cell.hidden])
        state.shape = ir.Shape(self.row)
        return state

    def final_ct(self, output: int) -> ir.Value:
        """The cotangent of Yh (1) or Yc (2), zeros if there is none.

        It stops at an empty sequence: ONNX Runtime gives zeros there, not the initial state.
        """
        op, ct = self.op, self.cts[output]
        if ct is None:
            return op.zeros_like(self.initial(5))
        ct = self.pick(ct, 0)
        if self.lengths is None or all(known(self.lengths) or [0]):
            return ct
        return op.Where(op.Greater(op.Unsqueeze(self.lengths, [1]), 0), ct, 0.0)

    def before(self, after: ir.Value, first: ir.Value) -> ir.Value:
        """The state before each step, from the states after each step (in the order the direction runs)."""
        op = self.op
        start = op.Unsqueeze(first, [0])
        if self.backward:
            shifted = op.Concat(op.Slice(after, [1], [2**62], [0]), start, axis=0)
        else:
            shifted = op.Concat(start, op.Slice(after, [0], [-1], [0]), axis=0)
        if self.lengths is not None and self.backward:
            # A padded step gives zeros in Y, but the state that reaches the last valid step is the initial one.
            following = op.Add(op.Range(0, op.size(self.x, 0), 1), 1)
            inside = op.Less(op.Unsqueeze(following, [1, 2]), self._lengths_row(self.lengths))
            shifted = op.Where(inside, shifted, start)
        dims = dims_of(self.x) or [None]
        shifted.shape = ir.Shape([dims[0], *self.row])
        return shifted

    def _lengths_row(self, lengths: ir.Value) -> ir.Value:
        return self.op.Unsqueeze(self.op.cast(lengths, ir.DataType.INT64), [0, 2])

    def h_before(self) -> ir.Value:
        """The state h before each step, from the node's Y."""
        return self.before(self.pick(self.states, 1), self.initial(5))

    def y_ct(self) -> dict[str, ir.Value]:
        """The stream ``ct`` of Y's cotangents; none if Y has none."""
        return {} if self.cts[0] is None else {"ct": self.pick(self.cts[0], 1)}

    def valid(self) -> dict[str, ir.Value]:
        """The stream ``valid``, (T, N, 1): 1 inside each sequence, 0 at padded steps; none if there are no lengths."""
        if self.lengths is None:
            return {}
        op = self.op
        steps = op.Unsqueeze(op.Range(0, op.size(self.x, 0), 1), [1, 2])
        return {"valid": op.cast_like(op.Less(steps, self._lengths_row(self.lengths)), self.x)}

    def scan(
        self,
        body: Body,
        carried: list[ir.Value],
        streams: Mapping[str, ir.Value],
        reverse: bool,
    ) -> list[ir.Value]:
        """One ONNX Scan over time; the body's outputs beyond the carried states are stacked over time."""
        op, dtype = self.op, self.x.dtype
        inner = op.body("step")
        states = [inner.input(f"state_{i}", dtype, self.row) for i in range(len(carried))]
        step = {name: inner.input(name, dtype, (dims_of(v) or [None] * 3)[1:]) for name, v in streams.items()}
        for name, value in step.items():
            inner.note_range(value, op.range_of(streams[name]))
        if not all(op.range_of(value).finite for value in [*carried, *streams.values()]):
            for state in states:
                inner.note_range(state, ANY)
        results = body(inner, states, step)
        for value in results:
            fresh = value.producer() is not None and value not in inner.graph.outputs
            inner.graph.outputs.append(value if fresh else inner.Identity(value))
        scanned = len(results) - len(carried)
        values = op.node(
            "Scan",
            [*carried, *streams.values()],
            {
                "body": inner.graph,
                "num_scan_inputs": len(streams),
                "scan_input_directions": [int(reverse)] * len(streams),
                "scan_output_directions": [int(reverse)] * scanned,
            },
            outputs=len(results),
        )
        steps = (dims_of(self.x) or [None])[0]
        for value, result, index in zip(values, results, range(len(results)), strict=True):
            inside = dims_of(result) or [None, None]
            value.type = self.x.type
            value.shape = ir.Shape(inside if index < len(carried) else [steps, *inside])
        return list(values)
