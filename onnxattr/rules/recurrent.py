"""Rules of LSTM, GRU and RNN: any direction, sequence lengths, initial states, activations, peepholes, clipping.

The forward states are read from the node's own outputs, so only the LSTM's cell state is recomputed (a Scan of
elementwise nodes). One Scan then runs backwards in time; its body is a single step's pullback and one product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff import pullback
from onnxattr.builder import OpBuilder, dims_of
from onnxattr.rules.recurrent_cells import read_cell
from onnxattr.rules.recurrent_weights import weight_cts
from onnxattr.rules.registry import STANDARD, Cotangent, vjp


@vjp("LSTM", "GRU", "RNN")
def recurrent(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """Y, Yh, Yc = states over time;  xbar, h0bar, c0bar by one Scan per direction, backwards in time.

    The weights' cotangents are products of the steps' with x and the states.
    """
    x, lengths = node.inputs[0], [*node.inputs[4:5], None][0]
    direction = node.attributes.get_string("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    cts = [*(ct if isinstance(ct, tuple) else (ct,)), None, None][:3]
    states = _outputs(op, node)
    parts = []
    for index in range(directions):
        backward = direction == "reverse" or index == 1
        parts.append(_Direction(op, node, index, backward, states[0], cts, lengths).run())
    x_cts, h_cts, c_cts, weights = zip(*parts, strict=True)

    def stacked(values: Sequence[ir.Value]) -> ir.Value:
        rows = [op.Unsqueeze(value, [0]) for value in values]
        return rows[0] if directions == 1 else op.Concat(*rows, axis=0)

    x_ct = x_cts[0] if directions == 1 else op.Add(*x_cts)
    x_ct.shape = x.shape
    entries: dict[int, Cotangent] = {0: x_ct, 5: lambda: stacked(h_cts), 6: lambda: stacked(c_cts)}
    for position in weights[0]:
        entries[position] = partial(lambda p: stacked([build[p]() for build in weights]), position)
    return [entries.get(position) for position in range(len(node.inputs))]


def _outputs(op: OpBuilder, node: Any) -> tuple[ir.Value, ...]:
    """The node's Y; a node that does not give it is asked for it, its other outputs stay as they are."""
    y = node.outputs[0]
    if not y.name:
        y.name = op.unique_name(f"{node.op_type}_states")
        x, hidden = node.inputs[0], node.attributes.get_int("hidden_size")
        dims = dims_of(x) or [None] * 3
        directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
        y.dtype, y.shape = x.dtype, ir.Shape([dims[0], directions, dims[1], hidden])
    return (y,)


def _sum_of_products(
    op: OpBuilder, cts: Sequence[ir.Value], slopes: Sequence[ir.Value], repeats: int
) -> ir.Value:
    """sum_k ct_k * slope_k, each ct repeated along the last axis to the width of its slope."""
    wide = [op.Concat(*[ct] * repeats, axis=-1) if repeats > 1 else ct for ct in cts]
    products = [op.Mul(ct, slope) for ct, slope in zip(wide, slopes, strict=True)]
    return op.Add(*products) if len(products) == 2 else products[0]


class _Direction:
    """The backward pass of one direction of a recurrent node."""

    def __init__(
        self,
        op: OpBuilder,
        node: Any,
        index: int,
        backward: bool,
        states: ir.Value,
        cts: Sequence[ir.Value | None],
        lengths: ir.Value | None,
    ):
        self.op, self.node, self.index, self.lengths = op, node, index, lengths
        self.x = node.inputs[0]
        self.backward = backward
        self.lstm = node.op_type == "LSTM"
        self.cell = read_cell(op, node, index)
        self.states, self.cts = states, cts
        dims = dims_of(self.x) or [None] * 3
        self.row = [dims[1], self.cell.hidden]

    def pick(self, value: ir.Value, axis: int) -> ir.Value:
        """This direction's part of a value that has a direction axis."""
        return self.op.Squeeze(self.op.Slice(value, [self.index], [self.index + 1], [axis]), [axis])

    def initial(self, position: int) -> ir.Value:
        """An initial state, zeros if the node has none."""
        op, inputs = self.op, self.node.inputs
        if len(inputs) > position and inputs[position] is not None:
            state = self.pick(inputs[position], 0)
        else:
            shape = op.Concat(op.shape(self.x, 1, 2), [self.cell.hidden], axis=0)
            state = op.Expand(op.constant(0, self.x.dtype), shape)
        state.shape = ir.Shape(self.row)
        return state

    def run(self) -> tuple[ir.Value, ir.Value, ir.Value | None, dict[int, Callable[[], ir.Value]]]:
        """The cotangents of X, of the initial h and (LSTM) of the initial c, and what builds those of the weights."""
        op = self.op
        h = self._before(self.pick(self.states, 1), self.initial(5))
        streams = {"pre": self.cell.pre(op, self.x), "rec": self.cell.rec(op, h)}
        if self.lengths is not None:
            streams["valid"] = self._valid()
        if self.lstm:
            streams["state"] = self._cells(streams, self.initial(6))
        elif self.cell.kind == "GRU":
            streams["state"] = h
        streams["ct"] = self.pick(self.cts[0], 1) if self.cts[0] is not None else op.zeros_like(h)
        carried = [self._final_ct(1)] + ([self._final_ct(2)] if self.lstm else [])
        if self.cell.elementwise:
            *state_cts, pre_ct = self._scan_slopes(streams, carried)
        else:
            *state_cts, pre_ct = self._scan_back(streams, carried)
        weights = weight_cts(op, self.cell, self.x, h, streams, pre_ct)
        c_ct = state_cts[1] if self.lstm else None
        return op.MatMul(pre_ct, self.cell.weights), state_cts[0], c_ct, weights

    def _final_ct(self, output: int) -> ir.Value:
        ct = self.cts[output]
        return self.pick(ct, 0) if ct is not None else self.op.zeros_like(self.initial(5))

    def _before(self, after: ir.Value, first: ir.Value) -> ir.Value:
        """The state before each step, from the states after each step (in the order the direction runs)."""
        op = self.op
        start = op.Unsqueeze(first, [0])
        if self.backward:
            shifted = op.Concat(op.Slice(after, [1], [2**62], [0]), start, axis=0)
        else:
            shifted = op.Concat(start, op.Slice(after, [0], [-1], [0]), axis=0)
        if self.lengths is not None and self.backward:
            # A padded step gives zeros in Y, but the state that reaches the last valid step is the initial one.
            following = op.Add(op.Range(0, op.Squeeze(op.shape(self.x, 0, 1)), 1), 1)
            inside = op.Less(op.Unsqueeze(following, [1, 2]), self._lengths_row())
            shifted = op.Where(inside, shifted, start)
        dims = dims_of(self.x) or [None]
        shifted.shape = ir.Shape([dims[0], *self.row])
        return shifted

    def _lengths_row(self) -> ir.Value:
        return self.op.Unsqueeze(self.op.Cast(self.lengths, to=ir.DataType.INT64.value), [0, 2])

    def _valid(self) -> ir.Value:
        """1 at the steps inside each sequence, 0 at padded ones; shape (T, N, 1)."""
        op = self.op
        steps = op.Unsqueeze(op.Range(0, op.Squeeze(op.shape(self.x, 0, 1)), 1), [1, 2])
        return op.Cast(op.Less(steps, self._lengths_row()), to=self.x.dtype.value)

    def _cells(self, streams: Mapping[str, ir.Value], c0: ir.Value) -> ir.Value:
        """The LSTM's cell state before each step."""
        if self.cell.peepholes is None:
            # The gates do not see the cell, so that only c = keep * c + add is left to the Scan.
            update = self.cell.cell_update(self.op, self.op.Add(streams["pre"], streams["rec"]))
            valid = {"valid": streams["valid"]} if "valid" in streams else {}
            streams = dict(zip(("keep", "add"), update, strict=True)) | valid

        def body(inner: OpBuilder, c: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            if "keep" in step:
                new = inner.Add(inner.Mul(step["keep"], c[0]), step["add"])
            else:
                new = self.cell.step(inner, step["pre"], step["rec"], c)[1]
            if "valid" in step:
                new = inner.Where(inner.Greater(step["valid"], 0.0), new, c[0])
            return [new, inner.Identity(c[0])]

        return self._scan(body, [c0], streams, reverse=self.backward)[1]

    def _scan_slopes(self, streams: Mapping[str, ir.Value], carried: list[ir.Value]) -> list[ir.Value]:
        """The backward pass of an elementwise cell; returns what ``_scan_back`` returns.

        A step's derivatives are factors per element, known for all steps before the Scan runs: it is left with the
        products along time, xbar_t from the state cotangents of step t, and these from the step after.
        """
        op = self.op
        # Copies, so that the slopes do not follow the way from "pre" to the state of later steps.
        inputs = [op.Identity(streams[name]) for name in ("state", "rec", "pre") if name in streams]
        *state, rec, pre = inputs
        outputs = self.cell.step(op, pre, rec, state)
        slopes = [pullback(op, {y: op.expand_like(1, y)}, inputs, STANDARD) for y in outputs]
        count = len(outputs)
        running = {
            "ct": streams["ct"],
            "rec": op.Concat(*[rec_slope for *_, rec_slope, _ in slopes], axis=-1),
        }
        for index, (*state_slope, _, _) in enumerate(slopes):
            running |= {f"state_{index}": slope for slope in state_slope}
        if "valid" in streams:
            running["valid"] = streams["valid"]
        # One product serves the cotangents of all outputs: their parts lie side by side, the weights one below another.
        weights = op.Concat(*[self.cell.recurrence] * count, axis=0)

        def body(inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            own = [inner.Add(cts[0], step["ct"]), *cts[1:]]
            wide = inner.Concat(*[ct for ct in own for _ in range(self.cell.sums)], axis=-1)
            new = [inner.MatMul(inner.Mul(wide, step["rec"]), weights)]
            if "state_0" in step:
                state_ct = _sum_of_products(inner, own, [step[f"state_{i}"] for i in range(count)], 1)
                new = [inner.Add(new[0], state_ct)] if self.cell.kind == "GRU" else [new[0], state_ct]
            if "valid" in step:
                keep = inner.Greater(step["valid"], 0.0)
                new = [inner.Where(keep, value, old) for value, old in zip(new, cts, strict=True)]
                own = [inner.Where(keep, value, 0.0) for value in own]
            return [*new, *own]

        results = self._scan(body, carried, running, reverse=not self.backward)
        state_cts, own = results[: len(carried)], results[len(carried) :]
        pre_slopes = [pre for *_, pre in slopes]
        return [*state_cts, _sum_of_products(op, own, pre_slopes, self.cell.gates)]

    def _scan_back(self, streams: Mapping[str, ir.Value], carried: list[ir.Value]) -> list[ir.Value]:
        """Runs the steps' pullbacks from the last to the first; returns state cotangents and those of ``pre``."""

        def body(inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            state = [step["state"]] if "state" in step else []
            outputs = self.cell.step(inner, step["pre"], step["rec"], state)
            targets = dict(zip(outputs, [inner.Add(cts[0], step["ct"]), *cts[1:]], strict=True))
            *state_cts, rec_ct, pre_ct = pullback(
                inner, targets, [*state, step["rec"], step["pre"]], STANDARD
            )
            h_ct = inner.MatMul(rec_ct, self.cell.recurrence)
            if self.cell.kind == "GRU":
                h_ct = inner.Add(h_ct, state_cts.pop())
            pulled = [h_ct, *state_cts, pre_ct]
            if "valid" in step:
                keep = inner.Greater(step["valid"], 0.0)
                held = [*cts, inner.zeros_like(step["pre"])]
                pulled = [inner.Where(keep, new, old) for new, old in zip(pulled, held, strict=True)]
            return pulled

        return self._scan(body, carried, streams, reverse=not self.backward)

    def _scan(
        self,
        body: Callable[[OpBuilder, Sequence[ir.Value], Mapping[str, ir.Value]], list[ir.Value]],
        carried: list[ir.Value],
        streams: Mapping[str, ir.Value],
        reverse: bool,
    ) -> list[ir.Value]:
        """One ONNX Scan over time; the body's outputs beyond the carried states are stacked over time."""
        op, dtype = self.op, self.x.dtype
        inner = op.body("step")
        states = [inner.input(f"state_{i}", dtype, self.row) for i in range(len(carried))]
        step = {name: inner.input(name, dtype, (dims_of(v) or [None] * 3)[1:]) for name, v in streams.items()}
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
            value.dtype = dtype
            value.shape = ir.Shape(inside if index < len(carried) else [steps, *inside])
        return list(values)
