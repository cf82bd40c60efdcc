"""A public numeric check of gradients, for any model and any new rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxattr.gradient import vjp
from onnxattr.loading import ModelSource, read_proto
from onnxattr.rules.registry import RuleTable
from onnxattr.rules.standard import STANDARD


def check_vjp(
    model: ModelSource,
    inputs: Mapping[str, np.ndarray],
    *,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: RuleTable = STANDARD,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    directions: int = 3,
    seed: int = 0,
) -> float:
    """Compares a model's VJP with central differences, in float64 by onnx's reference evaluator.

    For random cotangents and random directions v, <xbar, v> is compared with the slope of <ybar, f(x + t v)>.

    Args:
        model: The model; float32 weights and inputs are taken to float64.
        inputs: One array per model input.
        wrt: Inputs to differentiate with respect to; None for all float ones.
        outputs: Outputs that get a cotangent; None for all float ones.
        rules: The table of VJP rules.
        step: Half-width of the central difference.
        tolerance: Largest relative difference that passes.
        directions: Number of random directions per input.
        seed: Seed of the random cotangents and directions.

    Returns:
        The largest relative difference seen.

    Raises:
        AssertionError: If it is above the tolerance; the message names the input.
    """
    double = as_double(read_proto(model)[0])
    feeds = {k: v.astype(np.float64) if np.asarray(v).dtype.kind == "f" else v for k, v in inputs.items()}
    forward = ReferenceEvaluator(double)
    names = [value.name for value in double.graph.output]
    scores = (
        list(outputs)
        if outputs is not None
        else [n for n, t in _dtypes(double.graph.output) if t == onnx.TensorProto.DOUBLE]
    )
    sources = (
        list(wrt)
        if wrt is not None
        else [n for n, t in _dtypes(double.graph.input) if t == onnx.TensorProto.DOUBLE]
    )
    rng = np.random.default_rng(seed)
    primal = dict(zip(names, forward.run(None, feeds), strict=True))
    cotangents = {name: rng.normal(size=primal[name].shape) for name in scores}
    gradient = vjp(double, sources, scores, rules=rules)
    wanted = [f"{name}_gradient" for name in sources]
    found = ReferenceEvaluator(gradient).run(
        wanted, feeds | {f"{k}_cotangent": v for k, v in cotangents.items()}
    )
    worst = 0.0
    for name, xbar in zip(sources, found, strict=True):
        for _ in range(directions):
            v = rng.normal(size=feeds[name].shape)
            ends = [forward.run(scores, feeds | {name: feeds[name] + sign * step * v}) for sign in (1, -1)]
            slope = sum(
                float(((up - down) * ct).sum())
                for up, down, ct in zip(*ends, cotangents.values(), strict=True)
            ) / (2 * step)
            scale = max(abs(slope), float(np.abs(xbar * v).sum()), 1e-3)
            difference = abs(float((xbar * v).sum()) - slope) / scale
            worst = max(worst, difference)
            if not difference <= tolerance:
                raise AssertionError(
                    f"Gradient with respect to {name!r}: the rules give {float((xbar * v).sum()):.9g} along a random "
                    f"direction, central differences {slope:.9g} (relative difference {difference:.2g})."
                )
    return worst


def _dtypes(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, int]]:
    return [(value.name, value.type.tensor_type.elem_type) for value in values]


def as_double(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with every float32 tensor, type and cast taken to float64."""
    double = onnx.ModelProto()
    double.CopyFrom(proto)
    _graph_as_double(double.graph)
    return double


def _graph_as_double(graph: onnx.GraphProto) -> None:
    single, wide = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    del graph.value_info[:]
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = wide
    for tensor in graph.initializer:
        if tensor.data_type == single:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(
                    onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name
                )
            )
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _graph_as_double(attribute.g)
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == single:
                wider = onnx.numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(wider, attribute.t.name))
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = wide
