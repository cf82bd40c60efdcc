"""Float64 forward passes, in plain numpy, of operators that onnx's evaluator gets wrong or covers in part.

Those that any model may need are in onnxattr/testing/evaluator.py; these are for attributes that the tests go
through. test_rules.py compares each with ONNX Runtime before it trusts it.
"""

import math

import numpy as np

from onnxattr.testing.evaluator_windows import Corrected
from support.reference_sampling import SAMPLING_OPS


class Gelu(Corrected):
    def compute(self, attributes, x):
        if attributes.get("approximate", "none") == "tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class GroupNormalization(Corrected):
    def compute(self, attributes, x, scale, bias):
        parts = x.reshape(x.shape[0], attributes["num_groups"], -1)
        centred = parts - parts.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + attributes.get("epsilon", 1e-5))
        shape = (-1, *[1] * (x.ndim - 2))
        return (centred / deviation).reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)


class LpNormalization(Corrected):
    def compute(self, attributes, x):
        return x / np.linalg.norm(x, attributes.get("p", 2), attributes.get("axis", -1), keepdims=True)


class GlobalLpPool(Corrected):
    def compute(self, attributes, x):
        p = attributes.get("p", 2)
        return (np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: Each takes the value, alpha and beta.
ACTIVATIONS = {
    "relu": lambda x, a, b: np.maximum(x, 0),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x > 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x > 0, x, a * np.expm1(x)),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.log1p(np.exp(x)),
}
PARAMETERS = {
    "affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2, "elu": 1,
}  # fmt: skip


DEFAULTS = {
    "leakyrelu": (0.01, None), "thresholdedrelu": (1.0, None), "hardsigmoid": (0.2, 0.5), "elu": (1.0, None),
}  # fmt: skip


class Recurrent(Corrected):
    """Loops over directions and steps; ``step`` is one step of all samples."""

    gates: int
    defaults: tuple[str, ...]

    def compute(self, attributes, x, w, r, b=None, lengths=None, h0=None, c0=None, p=None):
        if attributes.get("layout", 0):
            x, h0, c0 = (None if v is None else v.swapaxes(0, 1) for v in (x, h0, c0))
            y, *last = self.forward(attributes, x, w, r, b, lengths, h0, c0, p)
            return (y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in last))
        return self.forward(attributes, x, w, r, b, lengths, h0, c0, p)

    def forward(self, attributes, x, w, r, b, lengths, h0, c0, p):
        steps, batch, _ = x.shape
        directions, _, hidden = r.shape
        b = np.zeros((directions, 2 * self.gates * hidden)) if b is None else b
        p = np.zeros((directions, 3 * hidden)) if p is None else p
        lengths = np.full(batch, steps) if lengths is None else lengths
        y = np.zeros((steps, directions, batch, hidden))
        last = [
            np.zeros((directions, batch, hidden)) if s is None else s.astype(float).copy() for s in (h0, c0)
        ]
        for d in range(directions):
            order = range(steps)
            if d == 1 or attributes.get("direction") == "reverse":
                order = reversed(order)
            biases = b[d].reshape(2, self.gates, hidden)
            weights = (self.by_gate(w[d]), self.by_gate(r[d]), *biases, p[d].reshape(3, hidden))
            functions = self.functions(attributes, d)
            h, c = last[0][d], last[1][d]
            for t in order:
                inside = (t < lengths)[:, None]
                found = self.step(attributes, functions, weights, x[t], h, c)
                h, c = (np.where(inside, new, old) for new, old in zip(found, (h, c), strict=True))
                y[t, d] = np.where(inside, h, 0)
            # ONNX Runtime gives zeros as the final states of an empty sequence, not its initial states.
            last[0][d], last[1][d] = (np.where(np.reshape(lengths, (-1, 1)) > 0, s, 0) for s in (h, c))
        return (y, *last)[: len(self.onnx_node.output)]

    def by_gate(self, matrix):
        """(gates * hidden, n) as one (n, hidden) for each gate, to be multiplied with rows."""
        return matrix.reshape(self.gates, -1, matrix.shape[1]).swapaxes(1, 2)

    def functions(self, attributes, direction):
        names = [
            name.decode() if isinstance(name, bytes) else name
            for name in attributes.get("activations", list(self.defaults) * 2)
        ]
        alphas, betas = (list(attributes.get(f"activation_{k}", [])) for k in ("alpha", "beta"))
        limit = attributes.get("clip", np.inf)
        made = []
        for name in map(str.lower, names):
            a, b = DEFAULTS.get(name, (None, None))
            a = alphas.pop(0) if alphas and PARAMETERS.get(name, 0) > 0 else a
            b = betas.pop(0) if betas and PARAMETERS.get(name, 0) > 1 else b
            # ONNX Runtime clips what goes into the gates, not the cell state behind an LSTM's third activation.
            bound = np.inf if len(made) % len(self.defaults) == 2 else limit
            made.append(lambda v, f=ACTIVATIONS[name], a=a, b=b, m=bound: f(np.clip(v, -m, m), a, b))
        count = len(self.defaults)
        return made[direction * count : (direction + 1) * count]


class RNN(Recurrent):
    gates, defaults = 1, ("Tanh",)

    def step(self, attributes, functions, weights, x, h, c):
        w, r, wb, rb, _ = weights
        return functions[0](x @ w[0] + h @ r[0] + wb[0] + rb[0]), c


class GRU(Recurrent):
    gates, defaults = 3, ("Sigmoid", "Tanh")

    def step(self, attributes, functions, weights, x, h, c):
        (wz, wr, wh), (rz, rr, rh), (wbz, wbr, wbh), (rbz, rbr, rbh) = weights[:4]
        f, g = functions
        z = f(x @ wz + h @ rz + wbz + rbz)
        r = f(x @ wr + h @ rr + wbr + rbr)
        linear = attributes.get("linear_before_reset", 0)
        candidate = r * (h @ rh + rbh) if linear else (r * h) @ rh + rbh
        return (1 - z) * g(x @ wh + wbh + candidate) + z * h, c


class LSTM(Recurrent):
    gates, defaults = 4, ("Sigmoid", "Tanh", "Tanh")

    def step(self, attributes, functions, weights, x, h, c):
        w, r, wb, rb, (p_i, p_o, p_f) = weights
        i, o, f, g = (x @ w[k] + h @ r[k] + wb[k] + rb[k] for k in range(4))
        gate, cell, out = functions
        i = gate(i + p_i * c)
        f = 1 - i if attributes.get("input_forget", 0) else gate(f + p_f * c)
        new = f * c + i * cell(g)
        return gate(o + p_o * new) * out(new), new


NEW_OPS = [Gelu, GlobalLpPool, GroupNormalization, LpNormalization, RNN, GRU, LSTM, *SAMPLING_OPS]
