"""The forward pass of a model in float64, and slopes of it: what gradients are compared with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fuzz.draft import Array
from fuzz.plain import ULP, in_float64, is_quantised
from onnxattr.graph.subgraphs import bodies_of, nodes_in
from onnxattr.testing.evaluator import CORRECTED

Forward = Callable[[Array], Array]
Values = Callable[[Array], list[Array]]
#: Half-widths of the differences of which one-sided ones meet where a function is smooth.
_STEPS = (1e-4, 1e-5, 1e-6)


def session(
    model: onnx.ModelProto, *, plain: bool = False, in_reals: bool = True
) -> onnxruntime.InferenceSession:
    """A quiet session of one thread at the runtime's default optimisation, or without any.

    Kernels of integers round what the model rounds in another place, and without VNNI they saturate: with ``in_reals``
    dequantised values are multiplied as floats.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if in_reals:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def double_forward(
    double: onnx.ModelProto, x: Array, y: Array, others: dict[str, Array], coarse: bool
) -> Forward | None:
    """A model of float64 as a function of x, by the runtime or onnx's evaluator; None if neither gives y at x."""

    def right(found: Array) -> bool:
        relative = 3e-2 if coarse else 1e-3
        tolerance = relative * max(1.0, float(np.abs(y).max(initial=0)))
        return found.shape == y.shape and np.allclose(found, y, rtol=relative, atol=tolerance)

    return running(double, x, others, right)


def running(
    double: onnx.ModelProto,
    x: Array,
    others: dict[str, Array],
    right: Callable[[Array], bool] = lambda y: True,
) -> Forward | None:
    """A model of float64 as a function, by what gives the right output at x."""
    for run in in_double(double, ["y"], **others):
        try:
            found = run(x)[0]
        except Exception:  # an operator that this one lacks in float64
            continue
        if right(found):
            return lambda x, run=run: run(x)[0]  # type: ignore[misc]
    return None


def in_double(double: onnx.ModelProto, names: Sequence[str], **more: Array) -> Iterator[Values]:
    """Functions of x that give values of a model of float64, by the runtime and by onnx's evaluator."""
    for start in (session, functools.partial(ReferenceEvaluator, new_ops=list(CORRECTED))):
        try:
            loaded = start(double)
        except Exception:  # operators that this one lacks in float64
            continue
        wide = {name: a.astype(np.float64) for name, a in more.items()}
        yield lambda x, loaded=loaded, wide=wide: [  # type: ignore[misc]
            np.asarray(a) for a in loaded.run(list(names), {"x": x.astype(np.float64), **wide})
        ]


def neighbours(
    model: onnx.ModelProto, feeds: dict[str, Array], scale: float | None, seed: int, *, decided: bool = False
) -> list[onnx.ModelProto]:
    """Models in float64 whose inner values are each multiplied by 1 + scale * noise, as rounding does.

    Without a scale it is that of the rounding of each value's own type. Zeros stay zeros, so what a mask or a zero
    switches off stays off; what cancels does not cancel any more. With ``decided`` comparisons come out as they do
    for these feeds, equality too.
    """
    rng, values = np.random.default_rng(seed), inner_values(model, feeds)
    kept = _sizes(model) | (set(values) - _varying(model))
    held = {**feeds, **values} if is_quantised(model) else None
    return [_scaled(in_float64(model, held), values, kept, scale, rng, decided) for _ in range(3)]


def _varying(model: onnx.ModelProto) -> set[str]:
    """The values that depend on what the inputs hold; others, as exponents that are constants, are exact."""
    found = {value.name for value in model.graph.input}
    for node in model.graph.node:
        read = {*node.input, *(name for body in bodies_of(node) for n in nodes_in(body) for name in n.input)}
        if node.op_type not in ("Shape", "Size") and not found.isdisjoint(read):
            found.update(node.output)
    return found


def _sizes(model: onnx.ModelProto) -> set[str]:
    """The values that scales and sizes of Resizes are made of, which stay float32."""
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in ("Resize", "Upsample"):
            found.update(node.input[1:])
        elif found.intersection(node.output) and node.op_type not in ("Shape", "Size"):
            found.update(node.input)
    return found


def _scaled(
    double: onnx.ModelProto,
    values: dict[str, Array],
    kept: set[str],
    scale: float | None,
    rng: np.random.Generator,
    decided: bool,
) -> onnx.ModelProto:
    nodes, held = [], double.graph.initializer
    for node in double.graph.node:
        found = values.get(node.output[0])
        if decided and found is not None and found.dtype == bool:
            held.append(numpy_helper.from_array(found, node.output[0]))
            continue
        nodes.append(node)
        for k, name in enumerate(node.output):
            found = values.get(name)
            if found is None or found.dtype == bool or name in kept:
                continue
            size = ULP[found.dtype] if scale is None else scale
            factor = np.asarray(1 + size * rng.normal(size=found.shape))
            held.append(numpy_helper.from_array(factor, f"{name}/factor"))
            node.output[k] = f"{name}/exact"
            nodes.append(helper.make_node("Mul", [f"{name}/exact", f"{name}/factor"], [name]))
    for node in nodes:
        for body in bodies_of(node):
            _scale_inside(body, ULP[np.dtype(np.float32)] if scale is None else scale, rng)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del double.graph.node[:]
    double.graph.node.extend(copies)
    return double


#: Operators of floats alone, whose results in a body can be told from integers without shape inference.
_OF_FLOATS = frozenset(
    "Tanh Sigmoid Exp Log Sin Cos Tan Sqrt Reciprocal Softplus Softsign Erf Softmax LogSoftmax Atan Sinh Cosh".split()
)


def _scale_inside(body: onnx.GraphProto, scale: float, rng: np.random.Generator) -> None:
    """Multiplies what the functions in a body give by 1 + scale * noise, one number for each node."""
    nodes = []
    for node in body.node:
        for inner in bodies_of(node):
            _scale_inside(inner, scale, rng)
        nodes.append(node)
        if node.op_type in _OF_FLOATS:
            name = node.output[0]
            factor = numpy_helper.from_array(np.asarray(1 + scale * rng.normal()))
            node.output[0] = f"{name}/exact"
            nodes.append(helper.make_node("Constant", [], [f"{name}/factor"], value=factor))
            nodes.append(helper.make_node("Mul", [f"{name}/exact", f"{name}/factor"], [name]))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del body.node[:]
    body.node.extend(copies)


def inner_values(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """The floats and booleans that a model's own nodes compute, in the runtime."""
    everything = onnx.ModelProto()
    everything.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del everything.graph.output[:]
    everything.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    arrays = zip(names, session(everything).run(names, feeds), strict=True)
    return {name: a for name, a in arrays if isinstance(a, np.ndarray) and a.dtype.kind in "fb"}


def slopes(forward: Forward, x: Array, v: Array, ct: Array) -> tuple[float, bool]:
    """The slope of <ct, f> at x along v, and whether f is smooth there: one-sided slopes meet as the step shrinks."""
    x, here = x.astype(np.float64), float((forward(x) * ct).sum())
    sides = []
    for step in _STEPS:
        up, down = (float((forward(x + sign * step * v) * ct).sum()) for sign in (1, -1))
        sides.append(((up - here) / step, (here - down) / step))
    central = sum(sides[1]) / 2
    wide, middle, narrow = (abs(up - down) for up, down in sides)
    # A smooth function's sides are apart by its curvature times the step, those of a kink by the same at any step.
    allowed = 1e-3 * max(abs(central), 1e-3)
    meeting = middle <= wide / 5 + allowed and narrow <= middle / 5 + allowed
    return central, bool(np.isfinite(sides).all() and meeting and abs(central - sum(sides[2]) / 2) <= allowed)


def finite_there(forward: Forward, x: Array, index: tuple[int, ...], ct: Array) -> bool:
    """Whether slopes along one element stay bounded as the step shrinks, at x and at points that approach x.

    At x itself a tie, of a pool or of branches, may hide an infinite slope or a jump: equal elements are moved
    together, and slopes are taken around x too.
    """
    rng, alone = np.random.default_rng(0), np.zeros(x.shape)
    alone[index] = 1
    tied = np.where(x == x[index], rng.normal(size=x.shape), 0)
    tied[: index[0]] = tied[index[0] + 1 :] = 0
    there = np.zeros(x.shape)
    cases = [(v, there, 1.0) for v in (alone, -alone, tied, -tied)]
    cases += [(alone, r, 1e-2) for r in rng.normal(size=(8, *x.shape))]
    return all(_bounded(forward, x.astype(np.float64), *case, ct) for case in cases)


def _bounded(forward: Forward, x: Array, v: Array, moved: Array, share: float, ct: Array) -> bool:
    """Whether the slope along v stays bounded where the step and the distance to x shrink."""
    found = []
    for step in (1e-3, 1e-5, 1e-7):
        here = x + step * moved
        found.append(float(((forward(here + share * step * v) - forward(here)) * ct).sum()) / (share * step))
    if not np.isfinite(found).all() or abs(found[2]) > 3 * abs(found[0]) + 10:
        return False
    # As slopes of roots and of jumps do; those of rounding alone stay below.
    rounding = 1e-5 * max(1.0, float(np.abs(forward(x) * ct).sum()))
    wide, middle, narrow = (max(abs(slope), rounding) for slope in found)
    return not narrow > 2 * middle > 4 * wide
