"""Rules of LSTM, GRU and RNN: any direction, sequence lengths, initial states, activations, peepholes, clipping.

The forward states are read from the node's own outputs, so only the LSTM's cell state is recomputed (a Scan of
elementwise nodes). One Scan then runs backwards in time; its body is a single step and that step's own pullback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff import pullback
from onnxattr.builder import OpBuilder, dims_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.rules.registry import NOT_IMPLEMENTED, STANDARD, Cotangent, vjp

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_ALPHAS = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "HardSigmoid": 0.2, "Elu": 1.0}
_BETAS = {"HardSigmoid": 0.5}

Activation = Callable[[OpBuilder, ir.Value], ir.Value]


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent node: weights of that direction, sliced from the node's inputs."""

    kind: str
    hidden: int
    recurrence: ir.Value
    recurrent_bias: ir.Value | None
    peepholes: Sequence[ir.Value] | None
    activations: Sequence[Activation]
    clip: float | None
    input_forget: bool
    linear_before_reset: bool

    def step(self, op: OpBuilder, pre: ir.Value, h: ir.Value, c: ir.Value | None) -> tuple[ir.Value, ...]:
        """The next states (h,) or (h, c) from the input's contribution to the gates and the states before."""
        if self.kind == "LSTM":
            assert c is not None
            return self._lstm(op, pre, h, c)
        return (self._gru(op, pre, h) if self.kind == "GRU" else self._rnn(op, pre, h),)

    def _apply(self, op: OpBuilder, index: int, value: ir.Value) -> ir.Value:
        if self.clip is not None:
            value = op.Clip(value, -self.clip, self.clip)
        return self.activations[index](op, value)

    def _recur(self, op: OpBuilder, h: ir.Value, first: int = 0, last: int | None = None) -> ir.Value:
        rows = self.recurrence
        if first or last is not None:
            rows = op.Slice(rows, [first * self.hidden], [(last or _GATES[self.kind]) * self.hidden], [0])
        return op.MatMul(h, op.Transpose(rows, perm=[1, 0]))

    def _rnn(self, op: OpBuilder, pre: ir.Value, h: ir.Value) -> ir.Value:
        return self._apply(op, 0, op.Add(pre, self._recur(op, h)))

    def _gru(self, op: OpBuilder, pre: ir.Value, h: ir.Value) -> ir.Value:
        pre_z, pre_r, pre_h = op.Split(pre, [self.hidden] * 3, axis=-1, outputs=3)
        rec_z, rec_r = op.Split(self._recur(op, h, 0, 2), [self.hidden] * 2, axis=-1, outputs=2)
        z = self._apply(op, 0, op.Add(pre_z, rec_z))
        r = self._apply(op, 0, op.Add(pre_r, rec_r))
        if self.linear_before_reset:
            candidate = op.Mul(r, op.Add(self._recur(op, h, 2, 3), self.recurrent_bias))
        else:
            candidate = self._recur(op, op.Mul(r, h), 2, 3)
        new = self._apply(op, 1, op.Add(pre_h, candidate))
        return op.Add(op.Mul(op.Sub(1.0, z), new), op.Mul(z, h))

    def _lstm(self, op: OpBuilder, pre: ir.Value, h: ir.Value, c: ir.Value) -> tuple[ir.Value, ir.Value]:
        gates = op.Add(pre, self._recur(op, h))
        i, o, f, g = op.Split(gates, [self.hidden] * 4, axis=-1, outputs=4)
        p_i, p_o, p_f = self.peepholes or (None, None, None)
        i = self._apply(op, 0, op.Add(i, op.Mul(c, p_i)) if p_i is not None else i)
        if self.input_forget:
            f = op.Sub(1.0, i)
        else:
            f = self._apply(op, 0, op.Add(f, op.Mul(c, p_f)) if p_f is not None else f)
        new = op.Add(op.Mul(f, c), op.Mul(i, self._apply(op, 1, g)))
        o = self._apply(op, 0, op.Add(o, op.Mul(new, p_o)) if p_o is not None else o)
        return op.Mul(o, self.activations[2](op, new)), new


@vjp("LSTM", "GRU", "RNN")
def recurrent(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """Y, Yh, Yc = states over time;  xbar, h0bar, c0bar by one Scan per direction, backwards in time."""
    if node.attributes.get_int("layout", 0):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: layout=1 has no VJP rule. Export with layout=0."
        )
    x, lengths, h0 = node.inputs[0], *[*node.inputs[4:6], None, None][:2]
    direction = node.attributes.get_string("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    cts = [*(ct if isinstance(ct, tuple) else (ct,)), None, None][:3]
    states = _outputs(op, node)
    x_cts, h_cts, c_cts = [], [], []
    for index in range(directions):
        backward = direction == "reverse" or index == 1
        parts = _Direction(op, node, index, backward, states[0], cts, lengths).run()
        x_cts.append(parts[0])
        h_cts.append(parts[1])
        c_cts.append(parts[2])
    entries: list[Cotangent] = [NOT_IMPLEMENTED] * len(node.inputs)
    entries[0] = x_cts[0] if directions == 1 else op.Add(*x_cts)
    entries[0].shape = x.shape
    for position, parts in ((5, h_cts), (6, c_cts)):
        if len(node.inputs) > position and node.inputs[position] is not None:
            stacked = [op.Unsqueeze(part, [0]) for part in parts if part is not None]
            entries[position] = stacked[0] if directions == 1 else op.Concat(*stacked, axis=0)
    if len(node.inputs) > 4:
        entries[4] = None
    del h0
    return entries


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
        self.cell = _cell(op, node, index)
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

    def run(self) -> tuple[ir.Value, ir.Value, ir.Value | None]:
        """The cotangents of X, of the initial h and (LSTM) of the initial c."""
        op = self.op
        weights = self.pick(self.node.inputs[1], 0)
        pre = op.MatMul(self.x, op.Transpose(weights, perm=[1, 0]))
        bias = _input_bias(op, self.node, self.index)
        pre = op.Add(pre, bias) if bias is not None else pre
        h0 = self.initial(5)
        h = self._before(self.pick(self.states, 1), h0)
        streams = {"pre": pre, "h": h}
        if self.lengths is not None:
            streams["valid"] = self._valid()
        if self.lstm:
            streams["c"] = self._cells(streams, self.initial(6))
        ct_y = self.pick(self.cts[0], 1) if self.cts[0] is not None else op.zeros_like(h)
        streams["ct"] = ct_y
        carried = [self._final_ct(1)] + ([self._final_ct(2)] if self.lstm else [])
        *state_cts, pre_ct = self._scan_back(streams, carried)
        return op.MatMul(pre_ct, weights), state_cts[0], state_cts[1] if self.lstm else None

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

        def body(inner: OpBuilder, c: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            new = self.cell.step(inner, step["pre"], step["h"], c[0])[1]
            if "valid" in step:
                new = inner.Where(inner.Greater(step["valid"], 0.0), new, c[0])
            return [new, inner.Identity(c[0])]

        return self._scan(body, [c0], streams, reverse=self.backward)[1]

    def _scan_back(self, streams: Mapping[str, ir.Value], carried: list[ir.Value]) -> list[ir.Value]:
        """Runs the steps' pullbacks from the last to the first; returns state cotangents and those of ``pre``."""

        def body(inner: OpBuilder, cts: Sequence[ir.Value], step: Mapping[str, ir.Value]) -> list[ir.Value]:
            before = [step["h"]] + ([step["c"]] if self.lstm else [])
            h_ct = inner.Add(cts[0], step["ct"])
            outputs = self.cell.step(inner, step["pre"], step["h"], step.get("c"))
            wanted = [*before, step["pre"]]
            pulled = pullback(inner, dict(zip(outputs, [h_ct, *cts[1:]], strict=True)), wanted, STANDARD)
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
        inner.graph.outputs.extend(inner.Identity(value) for value in results)
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


def _cell(op: OpBuilder, node: Any, index: int) -> Cell:
    attributes, hidden = node.attributes, node.attributes.get_int("hidden_size")
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]

    def pick(value: ir.Value) -> ir.Value:
        return op.Squeeze(op.Slice(value, [index], [index + 1], [0]), [0])

    linear = bool(attributes.get_int("linear_before_reset", 0)) and node.op_type == "GRU"
    recurrent_bias = None
    if linear:
        start = (_GATES["GRU"] + 2) * hidden
        zero = op.constant([0.0], node.inputs[0].dtype)
        recurrent_bias = (
            op.Slice(pick(inputs[3]), [start], [start + hidden], [0]) if inputs[3] is not None else zero
        )
    peepholes = None
    if inputs[7] is not None:
        peepholes = op.Split(pick(inputs[7]), [hidden] * 3, axis=0, outputs=3)
    return Cell(
        kind=node.op_type,
        hidden=hidden,
        recurrence=pick(inputs[2]),
        recurrent_bias=recurrent_bias,
        peepholes=peepholes,
        activations=_activations(node, index),
        clip=attributes.get_float("clip", None),
        input_forget=bool(attributes.get_int("input_forget", 0)),
        linear_before_reset=linear,
    )


def _input_bias(op: OpBuilder, node: Any, index: int) -> ir.Value | None:
    """The bias that adds to the gates before the step: Wb + Rb, without the part a GRU resets."""
    if len(node.inputs) < 4 or node.inputs[3] is None:
        return None
    size = _GATES[node.op_type] * node.attributes.get_int("hidden_size")
    bias = op.Squeeze(op.Slice(node.inputs[3], [index], [index + 1], [0]), [0])
    own, recurrent_part = op.Split(bias, [size, size], axis=0, outputs=2)
    if node.op_type == "GRU" and node.attributes.get_int("linear_before_reset", 0):
        hidden = node.attributes.get_int("hidden_size")
        kept = op.Slice(recurrent_part, [0], [2 * hidden], [0])
        recurrent_part = op.Pad(kept, [0, hidden])
    return op.Add(own, recurrent_part)


def _activations(node: Any, index: int) -> list[Activation]:
    defaults = _DEFAULTS[node.op_type]
    names = list(node.attributes.get_strings("activations") or defaults * 2)
    alphas = list(node.attributes.get_floats("activation_alpha") or [])
    betas = list(node.attributes.get_floats("activation_beta") or [])
    made = []
    for name in names:
        canonical = next((known for known in _CANONICAL if known.lower() == name.lower()), None)
        if canonical is None:
            raise UnsupportedOpError(f"{node.op_type} node {node.name!r}: unknown activation {name!r}.")
        alpha = alphas.pop(0) if canonical in _TAKES_ALPHA and alphas else _ALPHAS.get(canonical)
        beta = betas.pop(0) if canonical in _TAKES_BETA and betas else _BETAS.get(canonical)
        made.append(_activation(canonical, alpha, beta))
    return made[index * len(defaults) : (index + 1) * len(defaults)]


_CANONICAL = (
    "Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign",
    "Softplus",
)  # fmt: skip
_TAKES_ALPHA = {"Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"}
_TAKES_BETA = {"Affine", "ScaledTanh", "HardSigmoid"}


def _activation(name: str, alpha: float | None, beta: float | None) -> Activation:
    if name == "Affine":
        return lambda op, x: op.Add(op.Mul(x, alpha or 0.0), beta or 0.0)
    if name == "ScaledTanh":
        return lambda op, x: op.Mul(op.Tanh(op.Mul(x, beta or 0.0)), alpha or 0.0)
    if name == "HardSigmoid":
        return lambda op, x: op.HardSigmoid(x, alpha=alpha, beta=beta)
    if name in _ALPHAS:
        return lambda op, x: op.node(name, [x], {"alpha": alpha})
    return lambda op, x: op.node(name, [x])
