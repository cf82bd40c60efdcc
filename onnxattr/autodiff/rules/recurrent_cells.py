"""One step of LSTM, GRU and RNN as nodes, and the weights of one direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_ALPHAS = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "HardSigmoid": 0.2, "Elu": 1.0}
_BETAS = {"HardSigmoid": 0.5}

Activation = Callable[[OpBuilder, ir.Value], ir.Value]


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent node: weights of that direction, sliced from the node's inputs.

    What a step needs of x and of the state before is two sums per gate, ``pre`` = x W^T + bias and ``rec`` = h R^T +
    bias, which are computed for all steps at once; only a GRU that resets before the product needs more of h.

    Attributes:
        kind: "LSTM", "GRU" or "RNN".
        hidden: Size of the state.
        weights: W, (gates * hidden, inputs).
        recurrence: The rows of R that make ``rec``.
        reset_recurrence: The rows of R that multiply r * h, for such a GRU.
        bias: Added to ``pre``.
        recurrent_bias: Added to ``rec``.
        peepholes: The weights that let the LSTM's gates i, o and f see the cell.
        activations: f, or f and g, or f, g and h.
        clip: Bound of the activations' inputs.
        input_forget: Whether f = 1 - i.
    """

    kind: str
    hidden: int
    weights: ir.Value
    recurrence: ir.Value
    reset_recurrence: ir.Value | None
    bias: ir.Value | None
    recurrent_bias: ir.Value | None
    peepholes: Sequence[ir.Value] | None
    activations: Sequence[Activation]
    clip: float | None
    input_forget: bool

    @property
    def gates(self) -> int:
        """Number of gates."""
        return _GATES[self.kind]

    @property
    def sums(self) -> int:
        """Number of gates that ``rec`` holds."""
        return self.gates if self.reset_recurrence is None else 2

    @property
    def elementwise(self) -> bool:
        """Whether a step works on each element of the state apart, given ``pre`` and ``rec``."""
        return self.reset_recurrence is None

    def pre(self, op: OpBuilder, x: ir.Value) -> ir.Value:
        """The input's part of the gates, for any number of leading axes."""
        return _affine(op, x, self.weights, self.bias)

    def rec(self, op: OpBuilder, h: ir.Value) -> ir.Value:
        """The state's part of the gates, for any number of leading axes."""
        return _affine(op, h, self.recurrence, self.recurrent_bias)

    def step(self, op: OpBuilder, pre: ir.Value, rec: ir.Value, state: Sequence[ir.Value]) -> ir.Value:
        """The next state of a GRU, from the gates' parts and the state before, or of an RNN, from the parts."""
        if self.kind == "GRU":
            return self._gru(op, pre, rec, state[0])
        return self._apply(op, 0, op.Add(pre, rec))

    def gates_of(self, op: OpBuilder, x: ir.Value, h: ir.Value) -> ir.Value:
        """The LSTM's gates before their activations, (steps, batch, 4 * hidden): one product for all steps."""
        weights = op.Transpose(op.Concat(self.weights, self.recurrence, axis=1), perm=[1, 0])
        gates = op.MatMul(op.Concat(x, h, axis=-1), weights)
        if self.bias is None or self.recurrent_bias is None:
            return gates
        return op.Add(gates, op.Add(self.bias, self.recurrent_bias))

    def split(self, op: OpBuilder, gates: ir.Value) -> Sequence[ir.Value]:
        """The LSTM's gates i, o, f and g apart."""
        return op.Split(gates, [self.hidden] * 4, axis=-1, outputs=4)

    def cell_update(self, op: OpBuilder, i: ir.Value, f: ir.Value, g: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The factors of the LSTM's c = keep * c + add, from gates before their activations."""
        i = self._apply(op, 0, i)
        keep = op.Sub(1.0, i) if self.input_forget else self._apply(op, 0, f)
        return keep, op.Mul(i, self._apply(op, 1, g))

    def reset(self, op: OpBuilder, pre: ir.Value, rec: ir.Value) -> ir.Value:
        """The GRU's gate r, for any number of leading axes."""
        parts = (op.Slice(part, [self.hidden], [2 * self.hidden], [-1]) for part in (pre, rec))
        return self._apply(op, 0, op.Add(*parts))

    def _apply(self, op: OpBuilder, index: int, value: ir.Value) -> ir.Value:
        if self.clip is not None:
            value = op.Clip(value, -self.clip, self.clip)
        return self.activations[index](op, value)

    def _gru(self, op: OpBuilder, pre: ir.Value, rec: ir.Value, h: ir.Value) -> ir.Value:
        pre_z, pre_r, pre_h = op.Split(pre, [self.hidden] * 3, axis=-1, outputs=3)
        rec_z, rec_r, *rec_h = op.Split(rec, [self.hidden] * self.sums, axis=-1, outputs=self.sums)
        z = self._apply(op, 0, op.Add(pre_z, rec_z))
        r = self._apply(op, 0, op.Add(pre_r, rec_r))
        if self.reset_recurrence is None:
            candidate = op.Mul(r, rec_h[0])
        else:
            candidate = _affine(op, op.Mul(r, h), self.reset_recurrence, None)
        new = self._apply(op, 1, op.Add(pre_h, candidate))
        return op.Add(op.Mul(op.Sub(1.0, z), new), op.Mul(z, h))

    def next_cell(self, op: OpBuilder, i: ir.Value, f: ir.Value, g: ir.Value, c: ir.Value) -> ir.Value:
        """The LSTM's cell after a step, from gates before their activations and the cell before it."""
        if self.peepholes:
            i, f = op.Add(i, op.Mul(c, self.peepholes[0])), op.Add(f, op.Mul(c, self.peepholes[2]))
        keep, add = self.cell_update(op, i, f, g)
        return op.Add(op.Mul(keep, c), add)

    def output(self, op: OpBuilder, o: ir.Value, c: ir.Value) -> ir.Value:
        """The LSTM's h after a step, from its gate before the activation and the cell after the step."""
        if self.peepholes:
            o = op.Add(o, op.Mul(c, self.peepholes[1]))
        return op.Mul(self._apply(op, 0, o), self.activations[2](op, c))


def _affine(op: OpBuilder, x: ir.Value, weights: ir.Value, bias: ir.Value | None) -> ir.Value:
    product = op.MatMul(x, op.Transpose(weights, perm=[1, 0]))
    return product if bias is None else op.Add(product, bias)


def read_cell(op: OpBuilder, node: NodeView, index: int) -> Cell:
    """The cell of one direction of a recurrent node."""
    kind, hidden = node.op_type, node.get_int("hidden_size")
    (_, weights, recurrence), both_biases, peephole_rows = node.required(3), node.inputs[3], node.inputs[-1]

    def pick(value: ir.Value) -> ir.Value:
        return op.Squeeze(op.Slice(value, [index], [index + 1], [0]), [0])

    recurrence, reset, bias, recurrent_bias = pick(recurrence), None, None, None
    if both_biases is not None:
        size = _GATES[kind] * hidden
        bias, recurrent_bias = op.Split(pick(both_biases), [size, size], axis=0, outputs=2)
    if kind == "GRU" and not node.get_int("linear_before_reset"):
        recurrence, reset = op.Split(recurrence, [2 * hidden, hidden], axis=0, outputs=2)
        bias = None if bias is None else op.Add(bias, recurrent_bias)
        recurrent_bias = None
    peepholes = None
    if kind == "LSTM" and peephole_rows is not None:
        peepholes = op.Split(pick(peephole_rows), [hidden] * 3, axis=0, outputs=3)
    return Cell(
        kind=kind,
        hidden=hidden,
        weights=pick(weights),
        recurrence=recurrence,
        reset_recurrence=reset,
        bias=bias,
        recurrent_bias=recurrent_bias,
        peepholes=peepholes,
        activations=_activations(node, index),
        clip=node.attributes.get("clip"),
        input_forget=kind == "LSTM" and bool(node.get_int("input_forget")),
    )


def _activations(node: NodeView, index: int) -> list[Activation]:
    defaults = _DEFAULTS[node.op_type]
    names = node.get_strings("activations") or defaults * 2
    alphas = node.get_floats("activation_alpha")
    betas = node.get_floats("activation_beta")
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
