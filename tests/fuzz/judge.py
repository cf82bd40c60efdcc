"""What must hold for any model: its forward pass, its gradient, its samples apart, its renderings alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from fuzz.draft import Array
from fuzz.generate import Case
from fuzz.oracle import (
    Forward,
    finite_there,
    inner_values,
    neighbours,
    running,
    session,
    slopes,
)
from fuzz.trial import Trial
from onnxattr import GradientInput, OnnxAttrError, SquareGrad
from onnxattr.errors import UnforeseenError
from onnxattr.testing import as_double

#: What differences may be of those that rounding makes.
_MARGIN = 20
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
            trial = Trial(case)
        except Exception as error:
            if not type(error).__module__.startswith("onnxruntime"):
                raise
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


def _differ(found: Array, wanted: Array, tolerance: float) -> float:
    """By how much two arrays differ beyond a share of the largest element; infinite if not alike in kind."""
    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return np.inf
    there = np.isfinite(wanted)
    excess = float(np.abs(found[there] - wanted[there]).max(initial=0))
    return excess if excess > tolerance * max(1e-3, float(np.abs(wanted[there]).max(initial=0))) else 0.0


def _same(
    found: Array,
    wanted: Array,
    what: str,
    tolerance: float = 1e-4,
    rounding: Callable[[], Array] | None = None,
) -> None:
    """That two arrays are alike but for what rounding makes of an ill-conditioned model."""
    excess = _differ(found, wanted, tolerance)
    if 0 < excess < np.inf and rounding is not None:
        there = np.isfinite(wanted)
        excess *= not (np.abs(found - wanted) <= _MARGIN * rounding())[there].all()
    if excess:
        finite = [int((~np.isfinite(a)).sum()) for a in (found, wanted)]
        raise MismatchError(
            f"{what}: shapes {found.shape}, {wanted.shape}; non-finite {finite}; largest difference {excess:.3g} "
            f"of {np.abs(np.nan_to_num(wanted)).max(initial=0):.3g}"
        )


def _forward(trial: Trial) -> None:
    """The gradient graph predicts what the model predicts, non-finite values included."""
    for x, y in zip(trial.case.points, trial.outputs, strict=True):
        _same(
            trial.differentiate(x, trial.cotangent)[0],
            y,
            "prediction",
            1e-5,
            lambda x=x: trial.rounding(x, "y"),
        )


def _gradient(trial: Trial) -> None:
    """The gradient along random directions is the float64 slope, where the model is smooth and finite."""
    if trial.forward is None:
        return
    for x, y in zip(trial.case.points[:2], trial.outputs, strict=False):
        if not np.isfinite(y).all():
            continue
        ct = trial.cotangent.astype(np.float64)
        xbar = trial.differentiate(x, trial.cotangent)[1]
        for drawn in trial.direction:
            v = np.where(np.isfinite(xbar), drawn, 0)  # elements that are not finite are judged by _finite
            slope, smooth = slopes(trial.forward, x, v, ct)
            if smooth and not _near(xbar, v, slope) and not _rounded(trial, x, xbar, v, slope):
                raise MismatchError(
                    f"along a direction {float((xbar * v).sum()):.6g}, differences {slope:.6g}"
                )


def _near(xbar: Array | None, v: Array, slope: float) -> bool:
    if xbar is None or not np.isfinite(xbar[v != 0]).all():
        return False
    xbar = np.where(v != 0, xbar, 0)
    along, size = float((xbar * v).sum(dtype=np.float64)), float(np.abs(xbar * v).sum(dtype=np.float64))
    return abs(along - slope) <= 2e-3 * max(abs(slope), size, 1e-3)


def _rounded(trial: Trial, x: Array, xbar: Array, v: Array, slope: float) -> bool:
    """Whether the gradient graph gives the slope in float64, and in float32 what rounding makes of that.

    Rounding also breaks ties: elements that float32 does not tell apart, of which a model picks one. What is
    not finite in float32 alone is judged by ``_finite``.
    """
    exact = trial.double(as_double(trial.gradient_model), x, "x_gradient")
    if exact is None or not _near(exact, v, slope):
        return False
    there = np.isfinite(xbar) & np.isfinite(exact)
    allowed = 2e-3 * float(np.abs(exact[there]).max(initial=0)) + _MARGIN * trial.rounding(x, "x_gradient")
    apart = np.abs(xbar - exact)
    return bool((apart <= allowed)[there].all() or (apart <= allowed + trial.broken_ties(x))[there].all())


def _finite(trial: Trial) -> None:
    """The gradient is finite wherever the output is and the float64 slopes stay bounded, at zeros and ties too."""
    for x, y in zip(trial.case.points, trial.outputs, strict=True):
        if not np.isfinite(y).all():
            continue
        xbar = trial.differentiate(x, trial.cotangent)[1]
        for index in np.argwhere(~np.isfinite(xbar))[:5]:
            if _has_to_be_finite(trial, x, tuple(index)):
                raise MismatchError(
                    f"gradient {xbar[tuple(index)]} at x{index.tolist()} = {x[tuple(index)]:.3g}: finite slopes"
                )


def _has_to_be_finite(trial: Trial, x: Array, index: tuple[int, ...]) -> bool:
    """Whether slopes stay bounded, those of models that rounding might make of this one too.

    An infinite slope that only cancels exactly, as behind a mean that is subtracted, does so for no float: there
    the neighbours' slopes grow. And float32 need not give what only float64 has the range for.
    """
    ct = trial.cotangent.astype(np.float64)
    if trial.forward is None:
        return False
    around = trial.once("around", x, lambda: _around(trial, x))
    if not all(finite_there(f, x, index, ct) for f in (trial.forward, *around) if f is not None):
        return False
    if trial.once("adds infinities", x, lambda: _adds_infinities(trial, x)):
        return False
    exact = trial.once("exact", x, lambda: trial.double(as_double(trial.gradient_model), x, "x_gradient"))
    if exact is None or not np.isfinite(exact[index]):
        return True
    return not trial.once("leaves the range", x, lambda: _leaves_the_range(trial, x))


def _around(trial: Trial, x: Array) -> list[Forward | None]:
    """The models in float64 that rounding might make of this one."""
    return [running(model, x) for model in neighbours(trial.bare, {"x": x}, 1e-2, trial.case.seed)]


#: Operators that add cotangents up.
_SUMS = frozenset("Add Sub Sum ReduceSum ReduceMean MatMul Gemm Conv ConvTranspose".split())


def _adds_infinities(trial: Trial, x: Array) -> bool:
    """Whether every NaN of the gradient is a sum of infinite cotangents, as behind x - mean(x).

    The cotangent of sqrt(v) at v = 0 is infinite. Where it reaches x along two paths with opposite signs, the sum is
    NaN even if the paths cancel in the model. A product of 0 and infinity does not count.
    """
    values = inner_values(trial.gradient_model, trial.feeds(x))
    cotangents = {"y_cotangent"}
    for node in trial.gradient_model.graph.node:
        if not cotangents.isdisjoint(node.input):
            cotangents.update(node.output)
    nan = {name for name in cotangents.intersection(values) if np.isnan(values[name]).any()}
    follow, born = {"x_gradient"}, []
    for node in reversed(trial.gradient_model.graph.node):
        if not follow.isdisjoint(node.output):
            before = nan.intersection(node.input)
            follow |= before
            born += [] if before else [node]
    return bool(born) and all(
        node.op_type in _SUMS
        and any(
            np.isinf(values[name]).any() for name in cotangents.intersection(node.input).intersection(values)
        )
        for node in born
    )


def _leaves_the_range(trial: Trial, x: Array) -> bool:
    """Whether an inner value is 0 in float32 and not in float64, or its cotangent is too large for float32."""
    single = {name: a for name, a in inner_values(trial.bare, {"x": x}).items() if a.dtype != bool}
    for name, a in single.items():
        wide = trial.double(_giving(as_double(trial.bare), name), x, name)
        if wide is not None and ((a == 0) & (wide != 0)).any():
            return True
    largest = trial.largest_cotangents(x, [name for name in single if name != "y"])
    return any(size > np.finfo(np.float32).max for size in largest)


def _giving(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a value as its only output."""
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None))
    return model


def _apart(trial: Trial) -> None:
    """A sample among others is explained and predicted as it is alone; samples that mix are explained as one."""
    x, method = trial.case.points[0], trial.method(GradientInput)
    _same(method.predict(x), trial.outputs[0], "predict", 1e-5, lambda: trial.rounding(x, "y"))

    def rounding() -> Array:
        return np.abs(x * trial.rounding(x, "x_gradient"))

    _same(method.explain(x, trial.cotangent), trial.explained(x), "GradientInput", rounding=rounding)
    if trial.case.apart and trial.case.declared != "all samples":
        parts = [method.explain(x[k : k + 1], trial.cotangent[k : k + 1]) for k in range(len(x))]
        _same(np.concatenate(parts), trial.explained(x), "samples alone", rounding=rounding)


def _path(trial: Trial) -> None:
    """Integrated Gradients are the weighted gradients at their points, each point run by itself."""
    x = trial.case.points[-1]
    total = sum(
        weight * trial.differentiate((alpha * x).astype(np.float32), trial.cotangent)[1]
        for alpha, weight in _PATH
    )
    found = trial.path.explain(x, trial.cotangent)
    _same(found, x * np.asarray(total), "IntegratedGradients", rounding=lambda: _rounding_of_path(trial, x))


#: The points of a path of three, with their weights.
_PATH = ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25))


def _rounding_of_path(trial: Trial, x: Array) -> Array:
    """What rounding makes of Integrated Gradients, ties at the baseline that it breaks included."""
    parts = [weight * trial.rounding((alpha * x).astype(np.float32), "x_gradient") for alpha, weight in _PATH]
    (start, weight), *_ = _PATH
    broken = trial.broken_ties((start * x).astype(np.float32))
    return np.abs(x * np.asarray(sum(parts))) + np.abs(x * weight * broken)


def _renderings(trial: Trial) -> None:
    """Driven, batch and loop give the same attribution and the model's prediction."""
    x = trial.case.points[0]
    noisy = bool(trial.case.seed % 2)
    method = trial.method(SquareGrad, nb_samples=3) if noisy else trial.path
    driven = method.explain(x, trial.cotangent)
    # Points of a model whose rows mix, or that takes one row at a time, are no rows of one run.
    for rendering in ("batch", "loop") if method.prepared.rows.kind in ("proven", "measured") else ("auto",):
        loaded = session(method.explainer(rendering, target="weights"))
        feeds = {"x": x, "target": trial.cotangent} | ({"seed": np.array(0)} if noisy else {})
        prediction, attribution = loaded.run(["prediction", "attribution"], feeds)
        what = f"prediction of the {rendering}"
        _same(np.asarray(prediction), trial.outputs[0], what, 1e-5, lambda: trial.rounding(x, "y"))
        rounding = None if noisy else lambda: _rounding_of_path(trial, x)
        _same(np.asarray(attribution), driven, f"attribution of the {rendering}", rounding=rounding)
