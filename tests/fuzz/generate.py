"""Draws a model: operators one after another, an output, and what the file declares about shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper
from support.small_models import build

from fuzz import control, elementwise, layers, spelled_out, structure
from fuzz.draft import Array, Draft, Value, info

OPSETS = range(9, 24)
#: How many samples a model is tried with.
SAMPLES = 3
#: What a file declares: names for sizes, every size of one sample or of all, nothing but ranks, the sizes of another
#: batch than the input's, one name for several sizes, or the batch's name and sizes of the input alone.
DECLARED = ("symbolic", "one sample", "all samples", "anonymous", "stale", "one name", "bare")

#: Operators by how often they are drawn.
_OPERATORS: dict[Callable[[Draft, Value], Value], int] = {
    elementwise.unary: 8, elementwise.bounded: 2, elementwise.positive: 3, elementwise.powers: 2, elementwise.guard: 3,
    elementwise.switched_off: 1, elementwise.with_constant: 5, elementwise.with_value: 3, elementwise.clip: 2,
    elementwise.half_way: 1, elementwise.off: 1, elementwise.without_nan: 1, structure.transposed: 3,
    structure.there_and_back: 2, structure.reshaped: 3, structure.merged: 2, structure.flattened: 1,
    structure.with_one_more_axis: 2, structure.joined: 2, structure.sliced: 3, structure.padded: 2,
    structure.gathered: 2, structure.parted: 2, structure.repeated: 1, structure.reduced: 3, structure.normalised: 2,
    structure.largest: 1, structure.summed_up: 1, structure.triangular: 1, structure.softened: 2, layers.dense: 5,
    layers.convolution: 4, layers.pool: 3, layers.norm: 3, layers.resized: 2, layers.attention: 2,
    layers.recurrence: 2, control.branches: 2, control.loop: 2, control.scan: 2,
}  # fmt: skip
#: Seeds from this one on draw these too; those below keep the models that they had before.
NEWER = 10**6
_NEWER: dict[Callable[[Draft, Value], Value], int] = {
    spelled_out.layer_norm: 15, spelled_out.gate: 15, spelled_out.scaled_activations: 12,
    spelled_out.many_channels: 12, spelled_out.computed_target: 10,
}  # fmt: skip
_SIZES = {2: [(4,), (5,)], 3: [(3, 4), (2, 5), (4, 3)], 4: [(2, 4, 5), (1, 5, 4), (3, 4, 4)]}
_MOST_ELEMENTS = 300


@dataclass(frozen=True)
class Case:
    """A drawn model.

    Attributes:
        seed: What it was drawn from.
        model: The model, with one float input ``x`` and the output ``y``.
        apart: Whether every sample's output depends on that sample alone.
        points: Inputs to try, some of them with exact zeros, ones and equal elements.
        declared: What the file says of shapes, one of ``DECLARED``.
    """

    seed: int
    model: onnx.ModelProto
    apart: bool
    points: list[Array]
    declared: str


def draw(seed: int) -> Case:
    """The model of a seed; the same seed always gives the same model."""
    rng = np.random.default_rng(seed)
    d = Draft(rng, int(rng.choice(OPSETS)), mixing=bool(rng.random() < 0.15))
    declared = str(rng.choice(DECLARED))
    rank = d.pick(2, 3, 3, 4, 4)
    x = Value("x", (1 if declared == "one sample" else SAMPLES, *d.pick(*_SIZES[rank])))
    d.values.append(x)
    y = _chain(d, x, _OPERATORS if seed < NEWER else _OPERATORS | _NEWER)
    y = _as_output(d, y)
    extra = _extra_outputs(d, y)
    points = [_point(rng, x.shape, special) for special in (False, False, True)]
    outputs, ir_version = [info(y, [None] * y.rank), *extra], 7 if d.opset < 15 else 8
    model = build(d.nodes, [info(x)], outputs, d.weights, d.opset, ir_version=ir_version)
    return Case(seed, declare(model, declared), d.apart, points, declared)


def _chain(d: Draft, x: Value, drawn: dict[Callable[[Draft, Value], Value], int]) -> Value:
    operators, weights = list(drawn), np.array(list(drawn.values()), float)
    length, mixed_at = d.pick(2, 3, 4, 5, 6, 8), d.pick(0, 1, 2)
    for position in range(length):
        start = d.values[-1] if d.chance(0.8) else d.pick(*d.values)
        if d.mixing and position == mixed_at and d.chance(0.6):
            y = layers.mixer(d, start)
        else:
            y = operators[int(d.rng.choice(len(operators), p=weights / weights.sum()))](d, start)
        if np.prod(y.shape) <= _MOST_ELEMENTS and y.rank >= 2 and min(y.shape) > 0:
            d.values.append(y)
    return d.values[-1]


def _as_output(d: Draft, y: Value) -> Value:
    """(N, classes), or the value as it is; under the name y."""
    if d.chance(0.7) or y.name == "x":
        y = structure.flattened(d, y) if y.rank != 2 or d.chance(0.3) else y
        y = d.add("MatMul", y, d.constant(d.normal(y.shape[1], 3)), shape=(y.shape[0], 3))
        y = d.add("Softmax", y, axis=1) if d.chance(0.15) else y
    d.nodes.append(helper.make_node("Identity", [y.name], ["y"]))
    return Value("y", y.shape)


def _extra_outputs(d: Draft, y: Value) -> list[onnx.ValueInfoProto]:
    """Now and then the input, a weight or an inner value is an output too."""
    if not d.chance(0.15):
        return []
    weights = [name for name, array in d.weights.items() if array.dtype == np.float32 and array.ndim]
    name = d.pick("x", d.values[-1].name, *weights[:1])
    rank = d.weights[name].ndim if name in d.weights else next(v.rank for v in d.values if v.name == name)
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)]


def _point(rng: np.random.Generator, shape: tuple[int, ...], special: bool) -> Array:
    x = rng.normal(size=shape).astype(np.float32)
    if special:
        x = np.where(rng.random(shape) < 0.4, rng.choice([0.0, 0.0, 1.0, -1.0], size=shape), x).astype(
            np.float32
        )
        x[-1] = 0
    return x


def declare(model: onnx.ModelProto, declared: str) -> onnx.ModelProto:
    """Writes down what inference finds at the input's own sizes, then gives the input the dimensions of its kind."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if declared == "stale":
        dims[0].dim_value = 1
    if declared in ("one sample", "all samples", "stale"):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        dims = model.graph.input[0].type.tensor_type.shape.dim
    names = {"symbolic": "NABCD", "stale": "N", "one name": "NKKKK", "bare": "N"}.get(declared, "")
    for position, dim in enumerate(dims):
        if declared == "anonymous":
            dim.Clear()
        elif position < len(names):
            dim.dim_param = names[position]
    return model
