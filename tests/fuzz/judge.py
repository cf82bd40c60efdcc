"""What must hold for any model: its forward pass, its gradient, its samples apart, its renderings alike."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from fuzz.draft import Array
from fuzz.generate import Case
from fuzz.oracle import Forward, double_forward, finite_there, session, slopes
from onnxattr import GradientInput, IntegratedGradients, OnnxAttrError, SquareGrad, vjp
from onnxattr.errors import UnforeseenError
from onnxattr.evaluator import CORRECTED
from onnxattr.testing import as_double

AGREED, SKIPPED, REFUSED, WRONG, CRASHED = "agreed", "not a model", "refused", "wrong", "crashed"


@dataclass(frozen=True)
class Verdict:
    """What became of a case: its status, the check that decided, and what was seen."""

    status: str
    check: str = ""
    detail: str = ""


class MismatchError(Exception):
    """A number that is not what it has to be."""


def judge(case: Case) -> Verdict:
    """Runs all checks; the first that fails decides."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            trial = _Trial(case)
        except Exception as error:
            return Verdict(SKIPPED, "the runtime refuses the model", _one_line(error))
        for check in (_forward, _gradient, _finite, _apart, _path, _renderings):
            try:
                check(trial)
            except MismatchError as error:
                return Verdict(WRONG, check.__name__[1:], str(error))
            except UnforeseenError as error:
                return Verdict(CRASHED, check.__name__[1:], _one_line(error))
            except OnnxAttrError as error:
                if case.declared == "all samples" and check not in (_forward, _gradient, _finite):
                    return Verdict(AGREED)  # a method may ask for a batch that is not fixed
                return Verdict(REFUSED, check.__name__[1:], _one_line(error))
            except Exception as error:
                return Verdict(CRASHED, check.__name__[1:], f"{type(error).__name__}: {_one_line(error)}")
    return Verdict(AGREED)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


class _Trial:
    """A case with what its checks share, each computed once."""

    def __init__(self, case: Case):
        self.case = case
        own = session(case.model)
        self.outputs = [np.asarray(own.run(["y"], {"x": x})[0]) for x in case.points]
        rng = np.random.default_rng(case.seed)
        self.cotangent = rng.normal(size=self.outputs[0].shape).astype(np.float32)
        self.direction = rng.normal(size=(2, *case.points[0].shape))

    @cached_property
    def gradient_model(self) -> onnx.ModelProto:
        return vjp(self.case.model, "x", "y")

    @cached_property
    def differentiate(self) -> Callable[[Array, Array], tuple[Array, Array]]:
        """(x, ct) to (y, xbar), in the runtime."""
        loaded = session(self.gradient_model)

        def run(x: Array, ct: Array) -> tuple[Array, Array]:
            y, xbar = loaded.run(["y", "x_gradient"], {"x": x, "y_cotangent": ct})
            return np.asarray(y), np.asarray(xbar)

        return run

    @cached_property
    def forward(self) -> Forward | None:
        for x, y in zip(self.case.points[:2], self.outputs, strict=False):
            if np.isfinite(y).all():
                return double_forward(self.case.model, x, y)
        return None

    @cached_property
    def path(self) -> IntegratedGradients:
        return _method(self, IntegratedGradients, steps=3)

    def explained(self, x: Array) -> Array:
        """x times the gradient, sample by sample where they are apart."""
        return x * self.differentiate(x, self.cotangent)[1]


def _differ(found: Array, wanted: Array, tolerance: float) -> float:
    """By how much two arrays differ beyond a share of the largest element; infinite if not alike in kind."""
    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return np.inf
    there = np.isfinite(wanted)
    excess = float(np.abs(found[there] - wanted[there]).max(initial=0))
    return excess if excess > tolerance * max(1e-3, float(np.abs(wanted[there]).max(initial=0))) else 0.0


def _same(found: Array, wanted: Array, what: str, tolerance: float = 1e-4) -> None:
    excess = _differ(found, wanted, tolerance)
    if excess:
        finite = [int((~np.isfinite(a)).sum()) for a in (found, wanted)]
        raise MismatchError(
            f"{what}: shapes {found.shape}, {wanted.shape}; non-finite {finite}; largest difference {excess:.3g} "
            f"of {np.abs(np.nan_to_num(wanted)).max(initial=0):.3g}"
        )


def _forward(trial: _Trial) -> None:
    """The gradient graph predicts what the model predicts, non-finite values included."""
    for x, y in zip(trial.case.points, trial.outputs, strict=True):
        _same(trial.differentiate(x, trial.cotangent)[0], y, "prediction", 1e-5)


def _gradient(trial: _Trial) -> None:
    """The gradient along random directions is the float64 slope, where the model is smooth and finite."""
    if trial.forward is None:
        return
    for x, y in zip(trial.case.points[:2], trial.outputs, strict=False):
        if not np.isfinite(y).all():
            continue
        ct = trial.cotangent.astype(np.float64)
        xbar = trial.differentiate(x, trial.cotangent)[1]
        for v in trial.direction:
            slope, smooth = slopes(trial.forward, x, v, ct)
            if smooth and not _near(xbar, v, slope) and not _near(_double_gradient(trial, x), v, slope):
                raise MismatchError(
                    f"along a direction {float((xbar * v).sum()):.6g}, differences {slope:.6g}"
                )


def _near(xbar: Array | None, v: Array, slope: float) -> bool:
    if xbar is None or not np.isfinite(xbar).all():
        return False
    along, size = float((xbar * v).sum(dtype=np.float64)), float(np.abs(xbar * v).sum(dtype=np.float64))
    return abs(along - slope) <= 2e-3 * max(abs(slope), size, 1e-3)


def _double_gradient(trial: _Trial, x: Array) -> Array | None:
    """The gradient graph in float64, by the runtime or onnx's evaluator: tells rounding from a wrong rule."""
    feeds = {"x": x.astype(np.float64), "y_cotangent": trial.cotangent.astype(np.float64)}
    double = as_double(trial.gradient_model)
    for start in (session, functools.partial(ReferenceEvaluator, new_ops=list(CORRECTED))):
        try:
            return np.asarray(start(double).run(["x_gradient"], feeds)[0])
        except Exception:  # operators that this one lacks in float64
            continue
    return None


def _finite(trial: _Trial) -> None:
    """The gradient is finite wherever the output is and the float64 slopes stay bounded, at zeros and ties too."""
    for x, y in zip(trial.case.points, trial.outputs, strict=True):
        if not np.isfinite(y).all():
            continue
        xbar = trial.differentiate(x, trial.cotangent)[1]
        for index in np.argwhere(~np.isfinite(xbar))[:5]:
            ct = trial.cotangent.astype(np.float64)
            if trial.forward is not None and finite_there(trial.forward, x, tuple(index), ct):
                raise MismatchError(
                    f"gradient {xbar[tuple(index)]} at x{index.tolist()} = {x[tuple(index)]:.3g}: finite slopes"
                )


def _method(trial: _Trial, cls: type, **parameters: object):  # type: ignore[no-untyped-def]
    return cls(trial.case.model, output_layer="y", batch_size=2, reducer=None, progress=False, **parameters)


def _apart(trial: _Trial) -> None:
    """A sample among others is explained and predicted as it is alone; samples that mix are explained as one."""
    x, method = trial.case.points[0], _method(trial, GradientInput)
    _same(method.predict(x), trial.outputs[0], "predict", 1e-5)
    _same(method.explain(x, trial.cotangent), trial.explained(x), "GradientInput")
    if trial.case.apart and trial.case.declared != "all samples":
        parts = [method.explain(x[k : k + 1], trial.cotangent[k : k + 1]) for k in range(len(x))]
        _same(np.concatenate(parts), trial.explained(x), "samples alone")


def _path(trial: _Trial) -> None:
    """Integrated Gradients are the weighted gradients at their points, each point run by itself."""
    x = trial.case.points[-1]
    total = sum(
        weight * trial.differentiate((alpha * x).astype(np.float32), trial.cotangent)[1]
        for alpha, weight in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25))
    )
    found = trial.path.explain(x, trial.cotangent)
    _same(found, x * np.asarray(total), "IntegratedGradients")


def _renderings(trial: _Trial) -> None:
    """Driven, batch and loop give the same attribution and the model's prediction."""
    x = trial.case.points[0]
    noisy = bool(trial.case.seed % 2)
    method = _method(trial, SquareGrad, nb_samples=3) if noisy else trial.path
    driven = method.explain(x, trial.cotangent)
    # Points of a model whose rows mix, or that takes one row at a time, are no rows of one run.
    for rendering in ("batch", "loop") if method.prepared.rows.kind in ("proven", "measured") else ("auto",):
        loaded = session(method.explainer(rendering, target="weights"))
        feeds = {"x": x, "target": trial.cotangent} | ({"seed": np.array(0)} if noisy else {})
        prediction, attribution = loaded.run(["prediction", "attribution"], feeds)
        _same(np.asarray(prediction), trial.outputs[0], f"prediction of the {rendering}", 1e-5)
        _same(np.asarray(attribution), driven, f"attribution of the {rendering}")
