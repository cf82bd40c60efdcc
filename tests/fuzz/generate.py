"""Draws a model: operators one after another, an output, and what the file declares about shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper
from support.small_models import build

from fuzz import (
    awkward,
    control,
    elementwise,
    layers,
    nested,
    patterns,
    recent,
    sequences,
    spelled_out,
    structure,
    typed,
    wrapped,
)
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
    patterns.shared_weights: 10, patterns.wide_pool: 8, patterns.heads: 10, patterns.parts: 8, patterns.dense_block: 7,
    patterns.squeeze_excite: 7, patterns.decoder: 8, patterns.recurrent: 6, wrapped.second_input: 10,
    wrapped.quantised: 6, wrapped.half: 4, wrapped.controlled: 8, wrapped.function: 7,
}  # fmt: skip
#: Seeds from this one on draw these and a few simple ones: rare operands, bodies in bodies.
NEWEST = 2 * 10**6
_NEWEST: dict[Callable[[Draft, Value], Value], int] = {
    awkward.twice: 4, awkward.both_broadcast: 4, awkward.no_reduction: 4, awkward.empty: 6, awkward.sampled: 3,
    awkward.infinite_constants: 4, nested.nested: 8, elementwise.unary: 4, structure.transposed: 2, layers.dense: 2,
}  # fmt: skip
#: Seeds from this one on draw these and a few simple ones, of opsets up to 26: other types, computed sizes, new ones.
TYPED = 3 * 10**6
_TYPED: dict[Callable[[Draft, Value], Value], int] = {
    typed.cast: 5, typed.integer_weights: 4, typed.there_and_back: 3, typed.counted: 3, typed.of_computed_size: 5,
    typed.reduced: 5, typed.resized: 5,
    recent.activation: 3, recent.normalised: 4, recent.attention: 4, recent.rotated: 3, recent.along: 6,
    elementwise.unary: 3, structure.transposed: 1, layers.dense: 2, nested.nested: 1,
}  # fmt: skip
_SIZES = {2: [(4,), (5,)], 3: [(3, 4), (2, 5), (4, 3)], 4: [(2, 4, 5), (1, 5, 4), (3, 4, 4)]}
_MOST_ELEMENTS = 300


@dataclass(frozen=True)
class Case:
    """A drawn model.

    Attributes:
        seed: What it was drawn from.
        model: The model, with the float input ``x``, now and then further ones, and the output ``y``.
        apart: Whether every sample's output depends on that sample alone.
        points: Inputs to try, some of them with exact zeros, ones and equal elements.
        declared: What the file says of shapes, one of ``DECLARED``.
        others: The further inputs, the same at every point.
        further: Points of other batches and lengths, for models of sequences of any length.
    """

    seed: int
    model: onnx.ModelProto
    apart: bool
    points: list[Array]
    declared: str
    others: dict[str, Array] = field(default_factory=dict)
    further: list[Array] = field(default_factory=list)


def draw(seed: int) -> Case:
    """The model of a seed; the same seed always gives the same model."""
    rng = np.random.default_rng(seed)
    opsets = range(OPSETS.start, 27) if seed >= TYPED else OPSETS
    d = Draft(rng, int(rng.choice(opsets)), mixing=bool(rng.random() < 0.15))
    declared = str(rng.choice(DECLARED))
    rank = d.pick(2, 3, 3, 4, 4)
    x = Value("x", (1 if declared == "one sample" else SAMPLES, *d.pick(*_SIZES[rank])))
    if NEWER <= seed < NEWEST and rank == 3 and declared in ("symbolic", "anonymous") and not d.mixing:
        return _of_any_length(d, x, seed, declared)
    d.values.append(x)
    d.inputs.append(x)
    y = _chain(d, x, _drawn(seed))
    y = _as_output(d, y)
    extra = _extra_outputs(d, y)
    points = [_point(rng, x.shape, special) for special in (False, False, True)]
    model = declare(_model(d, y, extra), declared)
    others = {z.name: rng.normal(size=z.shape).astype(np.float32) for z in d.inputs[1:]}
    if seed >= NEWER and d.chance(0.15):
        _offer_weights(d, model)
    return Case(seed, model, d.apart, points, declared, others)


def _drawn(seed: int) -> dict[Callable[[Draft, Value], Value], int]:
    if seed >= NEWEST:
        return _NEWEST if seed < TYPED else _TYPED
    return _OPERATORS if seed < NEWER else _OPERATORS | _NEWER


def _of_any_length(d: Draft, x: Value, seed: int, declared: str) -> Case:
    """A model of sequences, with points of other batches and lengths."""
    d.inputs.append(x)
    y = sequences.chain(d, x)
    d.nodes.append(helper.make_node("Identity", [y.name], ["y"]))
    points = [_point(d.rng, x.shape, special) for special in (False, False, True)]
    model, further = _model(d, Value("y", y.shape), []), sequences.further_points(d.rng, x.shape[2])
    for axis, name in ((0, "N"), (1, "T")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    if declared == "anonymous":
        model = declare(model, declared)
    return Case(seed, model, d.apart, points, declared, {}, further)


def _model(d: Draft, y: Value, extra: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    outputs, options = (
        [info(y, [None] * y.rank), *extra],
        {"ir_version": 7 if d.opset < 15 else 8 if d.opset < 21 else 10},
    )
    if d.functions:
        opsets = [helper.make_opsetid("", d.opset), helper.make_opsetid(wrapped.DOMAIN, 1)]
        options = {"ir_version": 8, "opset_imports": opsets, "functions": list(d.functions.values())}
    return build(d.nodes, [info(value) for value in d.inputs], outputs, d.weights, d.opset, **options)


def _offer_weights(d: Draft, model: onnx.ModelProto) -> None:
    """Declares weights as inputs, too, as files of old exporters do; none is given another value."""
    whole = d.chance(0.3)  # sizes and positions, too, which shape inference then no longer knows
    for tensor in model.graph.initializer:
        if d.chance(0.6) and (whole or tensor.data_type == TensorProto.FLOAT):
            declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            model.graph.input.append(declared)


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
    """Writes down what inference finds at the inputs' own sizes, then gives inputs the dimensions of their kind."""
    if declared == "stale":
        for value in model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    if declared in ("one sample", "all samples", "stale"):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for number, value in enumerate(model.graph.input):
        # Sizes of two inputs may differ, but for the batch.
        letters = "ABCD" if not number else "EFGH" if number == 1 else "PQRS"
        names = {"symbolic": "N" + letters, "stale": "N", "one name": "NKKKK", "bare": "N"}.get(declared, "")
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if declared == "anonymous":
                dim.Clear()
            elif position < len(names):
                dim.dim_param = names[position]
    return model
