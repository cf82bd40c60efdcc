"""Elementwise operators, and guards around points at which their derivatives are infinite or undefined."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from fuzz.draft import Draft, Value

#: Operators with one operand, the opset that brought them, and attributes.
UNARY = {
    "Relu": (6, {}), "LeakyRelu": (6, {"alpha": 0.3}), "Elu": (6, {}), "Selu": (6, {}), "Celu": (12, {"alpha": 0.7}),
    "Sigmoid": (6, {}), "Tanh": (6, {}), "Softplus": (1, {}), "Softsign": (1, {}), "Sin": (7, {}), "Cos": (7, {}),
    "Abs": (6, {}), "Neg": (6, {}), "Erf": (9, {}), "HardSigmoid": (6, {}), "HardSwish": (14, {}), "Atan": (7, {}),
    "ThresholdedRelu": (10, {"alpha": 0.4}), "Mish": (18, {}), "Gelu": (20, {}),
    "Shrink": (9, {"lambd": 0.3, "bias": 0.1}),
    "Asinh": (9, {}), "Identity": (1, {}), "Floor": (6, {}), "Sign": (9, {}),
    "Round": (11, {}),
    "Swish": (24, {}),
}  # fmt: skip


def unary(d: Draft, x: Value) -> Value:
    """Any operator with one operand."""
    name = str(d.rng.choice([name for name, (since, _) in UNARY.items() if d.opset >= since]))
    y = d.add(name, x, **UNARY[name][1])
    # Steps have no gradient: alone they would end the model's dependence on its input.
    return d.add("Add", x, y.name) if name in ("Floor", "Sign", "Round") else y


def bounded(d: Draft, x: Value) -> Value:
    """exp, sinh-like growth of a bounded operand."""
    y = d.add("Tanh", x)
    return d.add(
        d.pick("Exp", "Sinh", "Cosh", "Tan", "Asin", "Acos", "Atanh") if d.opset >= 9 else "Exp",
        _shrunk(d, y),
    )


def _shrunk(d: Draft, x: Value) -> Value:
    return d.add("Mul", x, d.constant(np.float32(0.9)))


def positive(d: Draft, x: Value) -> Value:
    """log, sqrt, powers and reciprocals of a positive operand."""
    y = d.add("Add", d.add(d.pick("Softplus", "Abs", "Exp"), d.add("Tanh", x)), d.constant(np.float32(0.3)))
    op = d.pick("Log", "Sqrt", "Reciprocal", "Pow", "Div")
    if op == "Pow":
        return d.add("Pow", y, d.constant(np.float32(d.pick(0.5, 1.5, -0.7, 2.0))))
    if op == "Div":
        return Value(d.node("Div", [x.name, y.name]), x.shape)
    return d.add(op, y)


def powers(d: Draft, x: Value) -> Value:
    """Whole powers, the zeroth included."""
    exponent = d.pick(2.0, 3.0, 1.0, 0.0, 4.0)
    if d.chance(0.3):
        return (
            d.add("Pow", x, d.constant(int(exponent), np.int64)) if d.opset >= 12 else d.add("Mul", x, x.name)
        )
    return d.add("Pow", x, d.constant(np.float32(exponent)))


def guard(d: Draft, x: Value) -> Value:
    """A value that is selected only where it is defined: log, sqrt, 1/x, x/x, x^p, exp of what may overflow."""
    zero = d.constant(np.float32(0))
    chosen = d.node("Greater", [x.name, zero])
    kind = d.pick("Log", "Sqrt", "Reciprocal", "ratio", "power", "overflow")
    if kind == "ratio":
        inner = d.node("Div", [x.name, x.name])
    elif kind == "power":
        inner = d.node("Pow", [x.name, d.constant(np.float32(d.pick(0.5, -0.5, 1.5)))])
    elif kind == "overflow":
        inner = d.node("Exp", [d.node("Mul", [x.name, d.constant(np.float32(-100))])])
    else:
        inner = d.node(kind, [x.name])
    other = x.name if d.chance(0.5) else d.constant(np.zeros((1,) * x.rank, np.float32))
    return Value(d.node("Where", [chosen, inner, other]), x.shape)


def switched_off(d: Draft, x: Value) -> Value:
    """A root, a logarithm or a reciprocal behind a ReLU that may be off, itself multiplied by what is 0 then."""
    y = d.add("Relu", x)
    root = d.add("Sqrt", y)
    return Value(d.node("Mul", [root.name, y.name]), x.shape) if d.chance(0.5) else d.add("Mul", root, x.name)


def with_constant(d: Draft, x: Value) -> Value:
    """A binary operator with a constant that is broadcast."""
    shape = [d.pick(1, n) for n in x.shape[1:]]
    shape = [1, *shape] if d.chance(0.4) else shape[d.pick(0, len(shape) - 1) :] if shape else []
    array = d.normal(*shape)
    op = d.pick("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "PRelu", "from")
    if op == "PRelu":
        return d.add("PRelu", x, d.constant(array))
    if op == "Div":
        array = np.sign(array) + array + (array == 0)
    if op == "from":
        return Value(d.node("Sub", [d.constant(array), x.name]), x.shape)
    return d.add(op, x, d.constant(array))


def with_value(d: Draft, x: Value) -> Value:
    """A binary operator with an earlier value of the same shape."""
    other = d.pick(*[v for v in d.values if v.shape == x.shape] or [x])
    op = d.pick("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Where")
    if op == "Sub" and other.name == x.name:
        op = "Add"  # x - x is 0 everywhere: a root of it has no derivative anywhere
    if op == "Where":
        chosen = d.node(d.pick("Greater", "Less"), [other.name, d.constant(np.float32(0.1))])
        return Value(d.node("Where", [chosen, x.name, other.name]), x.shape)
    return d.add(op, x, other.name)


def clip(d: Draft, x: Value) -> Value:
    """Clip with both bounds, one or, from opset 11 on, computed or crossing ones."""
    low, high = d.pick((-0.5, 0.5), (0.0, 1.5), (-1.0, 0.25), (0.6, 0.1))
    if d.opset < 11:
        return d.add("Clip", x, min=min(low, high), max=max(low, high))
    bounds = [d.constant(np.float32(bound)) for bound in (low, high)]
    if d.chance(0.2):
        bounds[0] = ""
    return d.add("Clip", x, *bounds)


def half_way(d: Draft, x: Value) -> Value:
    """A cast to double and back."""
    y = d.add(d.pick("Cast", "Cast"), x, to=TensorProto.DOUBLE)
    return d.add("Cast", d.add("Mul", y, y.name) if d.chance(0.5) else y, to=TensorProto.FLOAT)


def off(d: Draft, x: Value) -> Value:
    """Dropout in inference, by attribute or by input."""
    if d.opset < 12:
        return d.add("Dropout", x, ratio=0.4)
    return d.add("Dropout", x, d.constant(np.float32(0.4)))


def without_nan(d: Draft, x: Value) -> Value:
    """nan_to_num: a value that is replaced where it is not a number."""
    y = d.add(d.pick("Sqrt", "Log"), x)
    missing = d.node("IsNaN", [y.name])
    zeros = d.node(
        "ConstantOfShape", [d.node("Shape", [y.name])], value=helper.make_tensor("", 1, [1], [0.25])
    )
    return Value(d.node("Where", [missing, zeros, y.name]), x.shape)
