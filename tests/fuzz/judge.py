"""What must hold for any model: its forward pass, its gradient, its samples apart, its renderings alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from fuzz import gradients, methods
from fuzz.compare import MARGIN, MismatchError
from fuzz.draft import Array
from fuzz.generate import Case
from fuzz.oracle import Forward, finite_there, inner_values, neighbours, running, slopes
from fuzz.trial import Trial
from onnxattr import OnnxAttrError
from onnxattr.errors import UnforeseenError

AGREED, SKIPPED, REFUSED, WRONG, CRASHED = "agreed", "not a model", "refused", "wrong", "crashed"


@dataclass(frozen=True)
class Verdict:
    """What became of a case: its status, the check that decided, and what was seen."""

    status: str
    check: str = ""
    detail: str = ""


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
        for name, check in _checks(case).items():
            try:
                check(trial)
            except MismatchError as error:
                return Verdict(WRONG, name, str(error))
            except UnforeseenError as error:
                return Verdict(CRASHED, name, _one_line(error))
            except OnnxAttrError as error:
                if case.declared == "all samples" and name not in _OF_GRADIENT:
                    return Verdict(AGREED)  # a method may ask for a batch that is not fixed
                return Verdict(REFUSED, name, _one_line(error))
            except Exception as error:
                return Verdict(CRASHED, name, f"{type(error).__name__}: {_one_line(error)}")
    return Verdict(AGREED)


def _checks(case: Case) -> dict[str, Callable[[Trial], None]]:
    """The checks of a case by name, in order; the dearer ones for some seeds."""
    of_gradient = (_forward, _gradient, _finite)
    found = {
        **dict(zip(_OF_GRADIENT, of_gradient, strict=True)),
        "apart": methods.apart,
        "path": methods.path,
        "renderings": methods.renderings,
        "sizes": lambda trial: gradients.other_sizes(trial, of_gradient),
        "inputs": lambda trial: gradients.other_inputs(trial, of_gradient),
    }
    dear = {1: ("rewrites", gradients.without_rewrites), 2: ("complete", methods.complete)}
    return found | dict([dear[case.seed % 4]] if case.seed % 4 in dear else [])


_OF_GRADIENT = ("forward", "gradient", "finite")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _forward(trial: Trial) -> None:
    """The gradient graph predicts what the model predicts, non-finite values included."""
    for place, x in enumerate(trial.case.points):
        trial.predicts(trial.differentiate(x, trial.cotangent)[0], place, "prediction")


def _gradient(trial: Trial) -> None:
    """The gradient along random directions is the float64 slope, where the model is smooth and finite."""
    for x, y in zip(trial.case.points[:2], trial.outputs, strict=False):
        forward = trial.forward(x)
        if forward is None or not np.isfinite(y).all():
            continue
        ct = trial.cotangent.astype(np.float64)
        xbar = trial.differentiate(x, trial.cotangent)[1]
        for drawn in trial.direction:
            v = np.where(np.isfinite(xbar), drawn, 0)  # elements that are not finite are judged by _finite
            slope, smooth = slopes(forward, x, v, ct)
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
    exact = trial.exact(x)
    if exact is None or not _near(exact, v, slope):
        return False
    there = np.isfinite(xbar) & np.isfinite(exact)
    allowed = 2e-3 * float(np.abs(exact[there]).max(initial=0)) + MARGIN * trial.rounding(x, "x_gradient")
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
    forward = trial.forward(x)
    if forward is None:
        return False
    around = trial.once("around", x, lambda: _around(trial, x))
    if not all(finite_there(f, x, index, ct) for f in (forward, *around) if f is not None):
        return False
    if trial.once("adds infinities", x, lambda: _adds_infinities(trial, x)):
        return False
    exact = trial.exact(x)
    if exact is None or not np.isfinite(exact[index]):
        return True
    return not trial.once("leaves the range", x, lambda: _leaves_the_range(trial, x))


def _around(trial: Trial, x: Array) -> list[Forward | None]:
    """The models in float64 that rounding might make of this one."""
    near = neighbours(trial.bare, trial.inputs(x), 1e-2, trial.case.seed)
    return [running(model, x, trial.case.others) for model in near]


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
    single = {name: a for name, a in inner_values(trial.bare, trial.inputs(x)).items() if a.dtype != bool}
    for name, a in single.items():
        wide = trial.double(_giving(trial.wide(trial.bare, x), name), x, name)
        if wide is not None and ((a == 0) & (wide != 0)).any():
            return True
    largest = trial.largest_cotangents(x, [name for name in single if name != "y"])
    return any(size > np.finfo(np.float16 if trial.half else np.float32).max for size in largest)


def _giving(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a value as its only output."""
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None))
    return model
