"""A public numeric check of gradients, for any model and any new rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.loading.reading.external_data import with_data_inside
from onnxattr.loading.reading.source import ModelSource, read_model
from onnxattr.session import Session
from onnxattr.testing.double import as_double
from onnxattr.testing.evaluator import CORRECTED


def check_vjp(
    model: ModelSource,
    inputs: Mapping[str, np.ndarray],
    *,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: RuleTable = STANDARD,
    runtime: str = "reference",
    new_ops: Sequence[type[OpRun]] = (),
    step: float | None = None,
    tolerance: float | None = None,
    directions: int = 3,
    seed: int = 0,
    gradient: onnx.ModelProto | None = None,
) -> float:
    """Compares a model's VJP with central differences.

    For random cotangents and random directions v, <xbar, v> is compared with the slope of <ybar, f(x + t v)>.

    Args:
        model: The model; for the evaluator, its float32 weights and inputs are taken to float64.
        inputs: One array per model input.
        wrt: Inputs to differentiate with respect to; None for all float ones. Not values inside the model.
        outputs: Outputs that get a cotangent; None for all float ones.
        rules: The table of VJP rules.
        runtime: What runs both graphs: ``"reference"``, onnx's evaluator in float64, or ``"onnxruntime"`` in
            float32, for large models and for operators that the evaluator lacks or gets wrong.
        new_ops: Operators that onnx's evaluator should use in place of its own, or in addition.
        step: Half-width of the central difference; None for 1e-5 in float64, 1e-2 in float32.
        tolerance: Largest relative difference that passes; None for 1e-6 in float64, 2e-3 in float32.
        directions: Number of random directions per input.
        seed: Seed of the random cotangents and directions.
        gradient: The gradient graph to compare, as ``vjp`` gives it for ``as_double(model)`` (for the evaluator) or
            ``model``; None to make it.

    Returns:
        The largest relative difference seen.

    Raises:
        AssertionError: If it is above the tolerance; the message names the input.
        ValueError: If ``runtime`` is neither of the two, or ``wrt`` names what ``inputs`` has no array of.
    """
    if runtime not in ("reference", "onnxruntime"):
        raise ValueError(f"runtime is {runtime!r}; give 'reference' or 'onnxruntime'.")
    double = runtime == "reference"
    evaluate = functools.partial(by_evaluator, new_ops=new_ops) if double else by_runtime
    step, tolerance = step or (1e-5 if double else 1e-2), tolerance or (1e-6 if double else 2e-3)
    proto = with_data_inside(read_model(model))
    proto = as_double(proto) if double else proto
    precision, kind = (
        (np.float64, onnx.TensorProto.DOUBLE) if double else (np.float32, onnx.TensorProto.FLOAT)
    )
    feeds = {k: v.astype(precision) if np.asarray(v).dtype.kind == "f" else v for k, v in inputs.items()}
    scores = _named(outputs, proto.graph.output, kind)
    sources = _named(wrt, proto.graph.input, kind, {weight.name for weight in proto.graph.initializer})
    if missing := [name for name in sources if name not in feeds]:
        raise ValueError(
            f"wrt: no array is given for {missing}. Give one of each in inputs; to check a value inside the model, "
            "make it an input first."
        )
    forward = evaluate(proto)
    rng = np.random.default_rng(seed)
    primal = forward(scores, feeds)
    cotangents = {k: rng.normal(size=y.shape).astype(precision) for k, y in zip(scores, primal, strict=True)}
    found = evaluate(gradient or vjp(proto, sources, scores, rules=rules))(
        [f"{name}_gradient" for name in sources],
        feeds | {f"{name}_cotangent": ct for name, ct in cotangents.items()},
    )
    worst = 0.0
    for name, xbar in zip(sources, found, strict=True):
        if xbar.shape != feeds[name].shape:
            raise AssertionError(f"The gradient of {name!r} has shape {xbar.shape}, not {feeds[name].shape}.")
        for _ in range(directions):
            v: Any = rng.normal(size=xbar.shape).astype(precision)
            ends = [{**feeds, name: np.asarray(feeds[name] + sign * step * v, precision)} for sign in (1, -1)]
            up, down = (forward(scores, end) for end in ends)
            slope = _slope(up, down, list(cotangents.values()), step)
            worst = max(worst, _compared(name, xbar * v, slope, tolerance))
    return worst


def _compared(name: str, parts: np.ndarray, slope: float, tolerance: float) -> float:
    """The relative difference of a gradient's parts along a direction, which add up to the slope, and the slope.

    Raises:
        AssertionError: If it is above the tolerance.
    """
    along = float(parts.sum(dtype=np.float64))
    difference = abs(along - slope) / max(abs(slope), float(np.abs(parts).sum()), 1e-3)
    if not difference <= tolerance:
        raise AssertionError(
            f"Gradient with respect to {name!r}: the rules give {along:.9g} along a random direction, central "
            f"differences {slope:.9g} (relative difference {difference:.2g})."
        )
    return difference


Evaluate = Callable[[Sequence[str], Mapping[str, np.ndarray]], list[np.ndarray]]


def by_evaluator(proto: onnx.ModelProto, new_ops: Sequence[type[OpRun]] = ()) -> Evaluate:
    """Runs a model in onnx's evaluator, with the operators of these classes in place of its own."""
    names = {op.__name__ for op in new_ops}
    evaluator = ReferenceEvaluator(
        proto, new_ops=[*new_ops, *(op for op in CORRECTED if op.__name__ not in names)]
    )
    return lambda names, feeds: list(evaluator.run(list(names), dict(feeds)))


def by_runtime(proto: onnx.ModelProto) -> Evaluate:
    """Runs a model in ONNX Runtime on the CPU."""
    session = Session(proto, ["CPUExecutionProvider"])

    def run(names: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        results = dict(zip(session.outputs, session.run(feeds), strict=True))
        return [results[name] for name in names]

    return run


def _slope(
    up: Sequence[np.ndarray], down: Sequence[np.ndarray], cotangents: Sequence[np.ndarray], step: float
) -> float:
    parts = zip(up, down, cotangents, strict=True)
    return sum(float(((u.astype(np.float64) - d) * ct).sum()) for u, d, ct in parts) / (2 * step)


def _named(
    names: Sequence[str] | None,
    values: Sequence[onnx.ValueInfoProto],
    kind: int,
    weights: Collection[str] = (),
) -> list[str]:
    """The given names, or those of all values of a dtype, without weights that a file lists among its inputs."""
    if names is not None:
        return list(names)
    return [v.name for v in values if v.type.tensor_type.elem_type == kind and v.name not in weights]
