"""The LSTM's way back: two Scans of few nodes, everything else for all steps at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.registry import STANDARD
from onnxattr.autodiff.rules.recurrent_direction import Direction, Pulled, total_ct
from onnxattr.autodiff.rules.recurrent_weights import weight_cts
from onnxattr.graph.builder import OpBuilder


class LstmDirection(Direction):
    """c = keep * c + i * g, h = o * act(c): the gates follow from x and Y, the cells from a Scan of two nodes.

    The derivatives of a step are then factors per element, known for all steps: with hbar and cbar behind a step,

        cbar += hbar * dh/dc;  gatesbar = (cbar, hbar, cbar, cbar) * slopes;  hbar = gatesbar R;  cbar *= dc/dc_before.
    """

    def run(self) -> Pulled:
        """Appends the backward pass; see ``Direction``."""
        op, cell = self.op, self.cell
        h, valid, first = self.h_before(), self.valid(), self.initial(6)
        gates = cell.gates_of(op, self.x, h)
        after = self._cells(gates, first, valid)
        state = self.before(after, first)
        streams = self._slopes(gates, state, after) | valid | self.y_ct()
        carried = [self.final_ct(1), self.final_ct(2)]
        h_ct, c_ct, gates_ct = self.scan(self._step_back, carried, streams, reverse=not self.backward)
        weights = weight_cts(op, cell, self.x, h, {"state": state, "after": after}, gates_ct)
        return op.MatMul(gates_ct, cell.weights), h_ct, c_ct, weights

    def _cells(self, gates: ir.Value, first: ir.Value, valid: dict[str, ir.Value]) -> ir.Value:
        """The cell state after each step; a padded step keeps it."""
        cell = self.cell
        if cell.peepholes is None:
            # The gates do not see the cell, so that only c = keep * c + add is left to the Scan.
            i, _, f, g = cell.split(self.op, gates)
            streams = dict(zip(("keep", "add"), cell.cell_update(self.op, i, f, g), strict=True))
        else:
            streams = {"gates": gates}

        def body(inner: OpBuilder, c: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            if "keep" in step:
                new = inner.Add(inner.Mul(step["keep"], c[0]), step["add"])
            else:
                i, _, f, g = cell.split(inner, step["gates"])
                new = cell.next_cell(inner, i, f, g, c[0])
            if "valid" in step:
                new = inner.Where(inner.Greater(step["valid"], 0.0), new, c[0])
            return [new, inner.Identity(new)]

        return self.scan(body, [first], streams | valid, reverse=self.backward)[1]

    def _slopes(self, gates: ir.Value, state: ir.Value, after: ir.Value) -> dict[str, ir.Value]:
        """For each step dh/dc, dc/dc_before and the gates' slopes: i, f and g act on c, o acts on h."""
        op, cell = self.op, self.cell
        # Copies, so that the slopes do not follow the way to the states of later steps.
        i, o, f, g = cell.split(op, op.Identity(gates))
        c_before, c = op.Identity(state), op.Identity(after)
        computed = cell.next_cell(op, i, f, g, c_before)
        h = cell.output(op, o, c)
        i_slope, f_slope, g_slope, keep = pullback(
            op, {computed: op.expand_like(1, computed)}, [i, f, g, c_before], STANDARD
        )
        o_slope, c_slope = pullback(op, {h: op.expand_like(1, h)}, [o, c], STANDARD)
        slopes = op.Concat(i_slope, o_slope, f_slope, g_slope, axis=-1)
        return {"gates": slopes, "cell": c_slope, "keep": keep}

    def _step_back(
        self, inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]
    ) -> list[ir.Value]:
        h_ct = total_ct(inner, cts[0], step)
        c_ct = inner.Add(cts[1], inner.Mul(h_ct, step["cell"]))
        gates_ct = inner.Mul(inner.Concat(c_ct, h_ct, c_ct, c_ct, axis=-1), step["gates"])
        new = [inner.MatMul(gates_ct, self.cell.recurrence), inner.Mul(c_ct, step["keep"])]
        if "valid" not in step:
            return [*new, gates_ct]
        inside = inner.Greater(step["valid"], 0.0)
        kept = [inner.Where(inside, value, old) for value, old in zip(new, cts, strict=True)]
        return [*kept, inner.Where(inside, gates_ct, 0.0)]
