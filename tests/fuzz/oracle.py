"""The forward pass of a model in float64, and slopes of it: what gradients are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from fuzz.draft import Array
from onnxattr.evaluator import CORRECTED
from onnxattr.testing import as_double

Forward = Callable[[Array], Array]
#: Half-widths of the differences that have to agree where a function is smooth.
_STEPS = (1e-4, 1e-5, 1e-6)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A quiet session of one thread at the runtime's default optimisation."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def double_forward(model: onnx.ModelProto, x: Array, y: Array) -> Forward | None:
    """The model in float64: by the runtime, or by onnx's evaluator; None if neither gives y at x."""
    double = as_double(model)

    def runtime() -> Forward:
        loaded = session(double)
        return lambda x: np.asarray(loaded.run(["y"], {"x": x.astype(np.float64)})[0])

    def evaluator() -> Forward:
        loaded = ReferenceEvaluator(double, new_ops=list(CORRECTED))
        return lambda x: np.asarray(loaded.run(["y"], {"x": x.astype(np.float64)})[0])

    for start in (runtime, evaluator):
        try:
            forward = start()
            found = forward(x)
        except Exception:  # an operator that this one lacks in float64
            continue
        if found.shape == y.shape and np.allclose(
            found, y, rtol=1e-3, atol=1e-3 * max(1.0, float(np.abs(y).max(initial=0)))
        ):
            return forward
    return None


def slopes(forward: Forward, x: Array, v: Array, ct: Array) -> tuple[float, bool]:
    """The slope of <ct, f> at x along v, and whether f is smooth there: one-sided slopes at all steps agree."""
    x, here = x.astype(np.float64), float((forward(x) * ct).sum())
    sides = []
    for step in _STEPS:
        up, down = (float((forward(x + sign * step * v) * ct).sum()) for sign in (1, -1))
        sides += [(up - here) / step, (here - down) / step]
    central = (sides[2] + sides[3]) / 2
    spread = max(sides) - min(sides)
    return central, bool(
        np.isfinite(sides).all() and spread <= 1e-3 * max(abs(central), 1e-3) + 2e-2 * _curvature(sides)
    )


def _curvature(sides: list[float]) -> float:
    """What a smooth function's one-sided slopes may differ by at the widest step, judged by the next."""
    return min(abs(sides[0] - sides[1]), 10 * abs(sides[2] - sides[3])) * 50


def finite_there(forward: Forward, x: Array, index: tuple[int, ...], ct: Array) -> bool:
    """Whether both one-sided slopes along one element stay bounded as the step shrinks."""
    v = np.zeros(x.shape)
    v[index] = 1
    x, here = x.astype(np.float64), float((forward(x) * ct).sum())
    for sign in (1, -1):
        found = [
            (float((forward(x + sign * step * v) * ct).sum()) - here) / step for step in (1e-3, 1e-5, 1e-7)
        ]
        if not np.isfinite(found).all() or abs(found[2]) > 3 * abs(found[0]) + 10:
            return False
    return True
