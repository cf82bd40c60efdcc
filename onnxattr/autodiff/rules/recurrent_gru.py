"""The way back of cells whose only state is their output: GRU and RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.registry import STANDARD
from onnxattr.autodiff.rules.recurrent_direction import Direction, Pulled, total_ct
from onnxattr.autodiff.rules.recurrent_weights import weight_cts
from onnxattr.graph.builder import OpBuilder


class GruDirection(Direction):
    """h = step(x W^T, h R^T, h): the states before each step are those of Y, so that one Scan is enough."""

    def run(self) -> Pulled:
        """Appends the backward pass; see ``Direction``."""
        op, cell = self.op, self.cell
        h = self.h_before()
        streams = {"pre": cell.pre(op, self.x), "rec": cell.rec(op, h)} | self.valid() | self.y_ct()
        if cell.kind == "GRU":
            streams["state"] = h
        h_ct, pre_ct = self._scan_slopes(streams) if cell.elementwise else self._scan_steps(streams)
        weights = weight_cts(op, cell, self.x, h, streams, pre_ct)
        return op.MatMul(pre_ct, cell.weights), h_ct, None, weights

    def _scan_slopes(self, streams: Mapping[str, ir.Value]) -> Sequence[ir.Value]:
        """The backward pass of an elementwise cell: the cotangents of the initial state and of ``pre``.

        A step's derivatives are factors per element, known for all steps before the Scan runs: it is left with the
        products along time.
        """
        op, cell = self.op, self.cell
        # Copies, so that the slopes do not follow the way from "pre" to the state of later steps.
        inputs = [op.Identity(streams[name]) for name in ("state", "rec", "pre") if name in streams]
        *state, rec, pre = inputs
        y = cell.step(op, pre, rec, state)
        *state_slope, rec_slope, pre_slope = pullback(op, {y: op.expand_like(1, y)}, inputs, STANDARD)
        running = {name: streams[name] for name in ("ct", "valid") if name in streams}
        running |= {"rec": rec_slope} | dict(zip(["state"], state_slope, strict=False))

        def body(inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            own = total_ct(inner, cts[0], step)
            new = inner.MatMul(inner.Mul(_repeat(inner, own, cell.sums), step["rec"]), cell.recurrence)
            if "state" in step:
                new = inner.Add(new, inner.Mul(own, step["state"]))
            if "valid" in step:
                keep = inner.Greater(step["valid"], 0.0)
                return [inner.Where(keep, new, cts[0]), inner.Where(keep, own, 0.0)]
            return [new, own]

        h_ct, own = self.scan(body, [self.final_ct(1)], running, reverse=not self.backward)
        return h_ct, op.Mul(_repeat(op, own, cell.gates), pre_slope)

    def _scan_steps(self, streams: Mapping[str, ir.Value]) -> Sequence[ir.Value]:
        """Runs the steps' pullbacks from the last to the first; returns what ``_scan_slopes`` returns."""
        cell = self.cell

        def body(inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            y = cell.step(inner, step["pre"], step["rec"], [step["state"]])
            own = total_ct(inner, cts[0], step)
            inputs = [step["state"], step["rec"], step["pre"]]
            state_ct, rec_ct, pre_ct = pullback(inner, {y: own}, inputs, STANDARD)
            new = inner.Add(inner.MatMul(rec_ct, cell.recurrence), state_ct)
            if "valid" in step:
                keep = inner.Greater(step["valid"], 0.0)
                return [inner.Where(keep, new, cts[0]), inner.Where(keep, pre_ct, 0.0)]
            return [new, pre_ct]

        return self.scan(body, [self.final_ct(1)], streams, reverse=not self.backward)


def _repeat(op: OpBuilder, ct: ir.Value, count: int) -> ir.Value:
    return op.Concat(*[ct] * count, axis=-1) if count > 1 else ct
